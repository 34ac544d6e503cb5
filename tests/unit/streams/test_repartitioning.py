"""Records are produced, and waiting for those that were repartitioned ends."""

from typing import Any

import pytest
from confluent_kafka import KafkaException

from izin.streams.ownership.effects import OutputRecord, produce_all
from izin.streams.ownership.repartitioning import Pauses


async def test_pauses_are_bounded() -> None:
    """Whoever waits for what never comes gets an error."""
    pauses, count = Pauses(0.01), 0
    with pytest.raises(KafkaException):  # noqa: PT012  # which of them raises is a matter of time
        while count < 1000:
            await pauses.next()
            count += 1
    assert 0 < count < 1000


def produced(*topics: str) -> tuple[int, list[tuple[str, int, bool]]]:
    """Return the count of rows among records of `topics`, and of each call where it goes to and
    whether its delivery is reported.
    """
    calls: list[tuple[str, int, bool]] = []

    def produce(topic: str, value: Any, key: Any, partition: int, report: Any, **_: Any) -> None:  # noqa: ANN401  # as confluent-kafka takes them
        assert (value, key) == (b"value", b"key")
        calls.append((topic, partition, report is not None))

    writes = [
        OutputRecord(topic, None if topic == "letters" else 3, b"key", b"value", [])
        for topic in topics
    ]
    return produce_all(produce, writes, "rows", lambda *_: None), calls


def test_only_the_last_row_is_reported() -> None:
    """By its offset it is seen whether rows of others lie between; a report of each would cost."""
    count, calls = produced("rows", "decisions", "rows", "letters")
    assert count == 2
    assert calls == [
        *(("rows", 3, False), ("decisions", 3, False), ("rows", 3, True), ("letters", -1, False)),
    ]


def test_without_rows_nothing_is_reported() -> None:
    """Decisions alone change no state."""
    assert produced("decisions", "decisions") == (0, [("decisions", 3, False)] * 2)
    assert produced() == (0, [])
