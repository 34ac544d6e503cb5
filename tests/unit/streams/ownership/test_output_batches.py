"""What a transaction writes is put into batches as a topic stores them."""

import pytest

from izin.schemas.fast.record_format import NO_HEADERS, BatchBuilder
from izin.streams.ownership import effects
from izin.streams.ownership.effects import OutputBatches, OutputRecord


def a_write(topic: str, partition: int = 0, value: bytes | None = b"value") -> OutputRecord:
    return OutputRecord(topic, partition, b"key", value, NO_HEADERS)


def places(batches: list[BatchBuilder]) -> list[tuple[str, int, int]]:
    """Return topic, partition and number of records of each."""
    return [(one.topic, one.partition, len(one)) for one in batches]


def test_records_of_a_topic_are_one_batch() -> None:
    """In the order in which they were added, until they are taken."""
    batches = OutputBatches()
    assert batches.add([a_write("rows"), a_write("decisions"), a_write("rows", value=None)]) == []
    assert batches.add([a_write("rows")]) == []
    assert places(batches.take()) == [("rows", 0, 3), ("decisions", 0, 1)]
    assert batches.take() == []


@pytest.mark.interpreted
def test_full_batch_is_returned_before_the_next_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch becomes larger than a broker takes, and what is full is sent at once."""
    monkeypatch.setattr(effects, "_FULL", 100)
    batches = OutputBatches()
    full = batches.add([a_write("rows", value=b"x" * 40) for _ in range(5)])
    assert places(full) == [("rows", 0, 2)] * 2
    assert places(batches.add([a_write("rows", value=b"x" * 1000)])) == [("rows", 0, 1)]
    assert places(batches.take()) == [("rows", 0, 1)]


def test_another_partition_of_a_topic_is_another_batch() -> None:
    """A batch is of one partition."""
    batches = OutputBatches()
    assert places(batches.add([a_write("rows", 0), a_write("rows", 1)])) == [("rows", 0, 1)]
    assert places(batches.take()) == [("rows", 1, 1)]
