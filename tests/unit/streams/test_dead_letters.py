"""Whatever a record is, it becomes a dead letter at worst: the path to one cannot raise."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.admission import FIRST_DATE
from izin.schemas.codec import Codec
from izin.schemas.fast.record_format import header_bytes, headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.records import MAX_COPIED_BYTES, event_to_avro
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord
from izin.streams.guard import AdmittedRecord, DeadLetter, Guard, dead_letter_message
from izin.streams.outputs import MAX_BYTES
from tests.support.builders import an_event
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    HOME,
    KEY,
    TOPICS,
    OrderHarness,
    a_record,
    fetched,
)

FIRST = (FIRST_DATE - EPOCH) // MILLISECOND
RET = CODEC.encode("ConsentEvent", event_to_avro(an_event(status="RET", consent_date=None)))
ONAY = CODEC.encode("ConsentEvent", event_to_avro(an_event(consent_date=None)))


def letters(*records: FetchedRecord) -> list[dict[str, Any]]:
    """Return the dead letters of records, decoded."""
    writes = OrderHarness().fold(records).writes
    found = [one for one in writes if one.topic == TOPICS.dead_letters.name]
    sizes = [len(one.key or b"") + len(one.value or b"") + len(one.headers) for one in found]
    assert all(size <= MAX_BYTES for size in sizes)
    return [CODEC.decode("DeadLetter", one.value or b"") for one in found]


@pytest.mark.parametrize(
    "first",
    [b"9" * 5000, b"1" * 16, b"0", b"%d" % (FIRST - 1), b"-5", b"", b"\xff", "١٢".encode(), None],
)
def test_first_append_that_is_none_is_left_out(first: bytes | None) -> None:
    """More digits than an instant has, none, or one before the law: the append itself counts."""
    headers = headers_bytes([(APPENDED_AT, first)])
    event = an_event(status="RET", consent_date=None, received_at=None)
    found = Guard(CODEC).admit(a_record(event, headers=headers))
    assert isinstance(found, AdmittedRecord)
    assert found.admitted.effective_at == EPOCH + APPENDED * MILLISECOND
    (letter,) = letters(fetched(value=ONAY, headers=headers, partition=HOME))
    assert (letter["reason"], letter["headers"]) == (
        "refused",
        [{"name": APPENDED_AT, "value": first}],
    )


def test_first_append_from_the_first_day_of_the_law_counts() -> None:
    """It is the earliest one that can be."""
    event = an_event(status="RET", consent_date=None, received_at=None)
    for first in (FIRST, APPENDED - 60_000):
        headers = headers_bytes([(APPENDED_AT, b"%d" % first)])
        found = Guard(CODEC).admit(a_record(event, headers=headers))
        assert isinstance(found, AdmittedRecord)
        assert found.admitted.effective_at == EPOCH + first * MILLISECOND


BROKEN = [
    b"\x80",
    b"",
    long_bytes(3) + header_bytes("a", "b"),
    long_bytes(1) + long_bytes(-5),
    long_bytes(1) + header_bytes(APPENDED_AT, "1")[:-1] + b"\xff",
]


@pytest.mark.parametrize("headers", BROKEN)
def test_ret_with_headers_that_cannot_be_read_takes_effect(headers: bytes) -> None:
    """They are missing; what is said of the consent is not."""
    effects = OrderHarness().fold([fetched(value=RET, key=KEY, partition=HOME, headers=headers)])
    assert effects.counts["opt-outs"] == 1


def test_headers_in_great_numbers_do_not_enlarge_a_letter() -> None:
    """A record of 1 MB holds 300,000 headers of nothing; their copies would not fit."""
    headers = headers_bytes([("", b"")] * 300_000)
    (letter,) = letters(fetched(value=b"?", headers=headers))
    assert 0 < len(letter["headers"]) < MAX_COPIED_BYTES


@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=40) | st.just(KEY) | st.just(b"k" * 70_000),
            st.none()
            | st.binary(max_size=40)
            | st.sampled_from([RET, ONAY, RET[:-1], RET + b"\0", b"v" * 200_000])
            | st.tuples(st.integers(10, len(RET) - 1), st.integers(0, 255)).map(
                lambda change: RET[: change[0]] + bytes([change[1]]) + RET[change[0] + 1 :]
            ),
            st.binary(max_size=60)
            | st.sampled_from(BROKEN)
            | st.lists(
                st.tuples(
                    st.sampled_from([APPENDED_AT, "izin-repartitioned", "izin-redriven", "ü", ""]),
                    st.none() | st.binary(max_size=20) | st.just(b"7" * 5000) | st.just(b"0"),
                ),
                max_size=4,
            ).map(lambda pairs: headers_bytes([*pairs])),
            st.sampled_from([APPENDED, APPENDED, -1, 0, (1 << 63) - 1, -(1 << 63)]),
        ),
        max_size=5,
    )
)
def test_any_record_is_folded_without_an_error(several: list[tuple[Any, ...]]) -> None:
    """Any key, value, headers and timestamp: a decision, a repartitioned record or a dead letter
    that has the record's coordinates, and never an error.
    """
    records = [
        fetched(key=key, value=value, headers=headers, timestamp=at, offset=offset, partition=HOME)
        for offset, (key, value, headers, at) in enumerate(several)
    ]
    found = letters(*records)
    assert [one["offset"] for one in found] == sorted({one["offset"] for one in found})


class FailingCodec:
    """Encodes anything but a dead letter with headers."""

    def encode(self, record: str, value: Mapping[str, Any]) -> bytes:
        """Return a framed record, unless it has headers."""
        if value["headers"]:
            raise OSError
        return CODEC.encode(record, value)


def test_letter_that_cannot_be_written_is_a_minimal_one() -> None:
    """Coordinates, the reason and the beginning of the bytes are left of it."""
    record = fetched(
        key=b"k" * 70_000, value=b"v" * 70_000, offset=7, timestamp=1 << 70, headers=[("a", b"")]
    )
    letter = Guard(CODEC).admit(record)
    assert isinstance(letter, DeadLetter)
    key, value, headers = dead_letter_message(letter, record, cast("Codec", FailingCodec()))
    written = CODEC.decode("DeadLetter", value)
    assert (key, written["reason"], written["offset"]) == (None, "undecodable", 7)
    assert (written["value_size"], len(written["value"])) == (70_000, MAX_COPIED_BYTES)
    assert (written["headers"], written["violations"]) == ([], [])
    assert written["timestamp"] == EPOCH
    assert dict(headers)["ce_time"] == EPOCH.isoformat().encode()
