"""Records are read and written as Kafka's own clients read and write them."""

from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from izin.schemas.fast.record_format import (
    BatchBuilder,
    header_bytes,
    headers_bytes,
    headers_of,
    varint,
)
from izin.schemas.fast.writer import long_bytes
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord, fetched_records
from izin.streams.ownership.transactional_producer import EncodedBatch, encoded

HEADER_SIZE = 61
some_bytes = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=20), some_bytes), max_size=4)
records = st.lists(st.tuples(some_bytes, some_bytes, headers), min_size=1, max_size=200)


def fields(record: Any) -> tuple[Any, ...]:  # noqa: ANN401  # aiokafka publishes no types
    """Return what a record has, whoever read it."""
    return record.offset, record.timestamp, record.key, record.value, list(record.headers)


async def written(of: list[Any], *, producer: int = 7) -> bytes:
    """Return the batch of `of` as a producer sends it."""
    batch = BatchBuilder("rows", 0)
    for key, value, some in of:
        batch.add(key, value, headers_bytes(some))
    made = await encoded(batch)
    made._set_producer_state(producer, 3, 21)
    return made._build()


@given(records)
async def test_written_batch_is_read_by_aiokafka(of: list[Any]) -> None:
    """Its records, its checksum, and what a broker needs to know each one once."""
    reader = MemoryRecords(await written(of))
    batch = reader.next_batch()
    assert batch is not None
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 3, 21)
    assert (batch.is_transactional, batch.is_control_batch) == (True, False)
    assert batch.next_offset == len(of)
    at = batch.first_timestamp
    expected = [(number, at, *one[:2], list(one[2])) for number, one in enumerate(of)]
    assert [fields(one) for one in batch] == expected
    assert not reader.has_next()


async def test_batch_sent_again_is_the_same() -> None:
    """A broker knows it by its sequence number, and drops the second."""
    batch = BatchBuilder("rows", 0)
    batch.add(b"key", b"value", headers_bytes([]))
    made = await encoded(batch)
    made._set_producer_state(1, 0, 5)
    assert isinstance(made, EncodedBatch)
    assert made._build() == made._build()
    assert (made.record_count(), made.closed()) == (1, True)


@given(records, st.integers(0, 5))
def test_batch_of_aiokafka_is_read(of: list[Any], start: int) -> None:
    """Every record from an offset on, with its headers, at its own instant."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 24,
    )
    for number, (key, value, some) in enumerate(of):
        builder.append(number * 2, 1000 - number, key, value, some)
    data = bytes(builder.build())[HEADER_SIZE:]
    last, count = max(0, 2 * len(of) - 2), len(of)
    found, read = fetched_records("events", 3, data, 0, last, count, 1000, -1, start)
    expected = [(number * 2, 1000 - number, *one[:2], one[2]) for number, one in enumerate(of)]
    assert [fields(one) for one in found] == [one for one in expected if one[0] >= start]
    assert read == last + 1
    appended, _ = fetched_records("events", 3, data, 10, 10 + last, count, 1000, 555, 0)
    assert [(one.offset, one.timestamp) for one in appended] == [
        (10 + number * 2, 555) for number in range(len(of))
    ]


@given(st.integers(-(1 << 62), (1 << 62) - 1))
def test_varint_reads_what_is_written(number: int) -> None:
    """Kafka's numbers are Avro's."""
    data = long_bytes(number)
    assert varint(data, 0) == (number, len(data))


def test_name_that_is_no_text_harms_nothing_else() -> None:
    """A producer may name a header in any bytes."""
    data = long_bytes(2) + header_bytes("ab", b"1").replace(b"ab", b"\xff\xfe")
    assert headers_of(data + header_bytes("c", None)) == [("\ufffd\ufffd", b"1"), ("c", None)]


@pytest.mark.parametrize(
    ("of", "is_again"),
    [
        ([(APPENDED_AT, b"1")], True),
        ([("ce_id", b"1"), (APPENDED_AT, b"1")], True),
        ([(APPENDED_AT, b"1"), ("ce_id", b"1")], False),
        ([("ce_id", APPENDED_AT.encode())], False),
        ([], False),
    ],
)
def test_record_appended_before_is_known_by_its_last_header(
    of: list[tuple[str, bytes | None]], *, is_again: bool
) -> None:
    """In bytes as in values; the name alone, elsewhere in a record, says nothing."""
    for given_headers in (of, headers_bytes([*of])):
        record = FetchedRecord("events", 0, 0, 0, b"key", b"value", given_headers)
        assert record.was_appended_before is is_again
        assert record.headers == of
