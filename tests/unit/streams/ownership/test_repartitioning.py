"""A record is repartitioned once it is acknowledged where it belongs."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.schemas.fast.record_format import headers_bytes
from izin.streams.ownership import partition_transaction
from izin.streams.ownership.effects import OutputRecord
from izin.streams.ownership.partition_transaction import repartition

RECORD = OutputRecord("events", 3, b"key", b"value", headers_bytes([("a", b"1"), ("b", None)]))


class Broker:
    """A producer of which `answer` is each record's outcome; None: there is none in time."""

    def __init__(self, *answers: Callable[[], KafkaError | None] | None) -> None:
        self.answers = list(answers)
        self.records: list[tuple[Any, ...]] = []
        self._reports: list[Callable[[KafkaError | None, None], None]] = []

    def produce(self, *record: Any, headers: Any) -> None:  # noqa: ANN401  # as confluent-kafka takes them
        *fields, report = record
        self.records.append((*fields, headers))
        self._reports.append(report)

    def poll(self, limit: float) -> None:
        assert limit > 0
        answered, self.answers = self.answers, []
        for report, answer in zip(self._reports, answered, strict=False):
            if answer is not None:
                report(answer(), None)

    def flush(self, _limit: float) -> None:
        raise AssertionError("it waits for the records of others, whose partition has no leader")


async def test_record_is_written_to_its_partition() -> None:
    """As it is, and its acknowledgement is waited for."""
    broker: Any = Broker(lambda: None)
    await repartition(broker, [RECORD])
    assert broker.records == [("events", b"value", b"key", 3, [("a", b"1"), ("b", None)])]


@pytest.mark.parametrize(
    "answer", [None, lambda: KafkaError(KafkaError._ALL_BROKERS_DOWN)], ids=["late", "refused"]
)
async def test_record_that_was_not_acknowledged_raises(
    answer: Callable[[], KafkaError | None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several is enough: the position must not pass what it came from."""
    monkeypatch.setattr(partition_transaction, "_WITHIN", 0.05)
    broker: Any = Broker(lambda: None, answer)
    with pytest.raises(KafkaException):
        await repartition(broker, [RECORD, RECORD])


async def test_nothing_to_repartition_asks_nobody() -> None:
    """As it mostly is."""
    await repartition(Broker(), [])  # type: ignore[arg-type]  # the stand-in
