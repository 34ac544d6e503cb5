"""A commit waits for its broker in a thread, and is given up only when it is another's."""

import asyncio
import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.streams.ownership import commit
from izin.streams.ownership.commit import commit_transaction


class SlowProducer:
    """A producer whose commit lasts until `may_end`, and then raises `error`, if any."""

    def __init__(self, error: KafkaError | None = None) -> None:
        self.error = error
        self.may_end = threading.Event()
        self.asked: list[float] = []

    def commit_transaction(self, timeout: float) -> None:
        self.asked.append(timeout)
        assert self.may_end.wait(20)
        if self.error is not None:
            raise KafkaException(self.error)


async def test_commit_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits the event loop goes on, and it is asked once."""
    monkeypatch.setattr(commit, "_GRACE", 0.001)
    producer = SlowProducer()
    waiting = asyncio.create_task(commit_transaction(producer, lambda: True))  # type: ignore[arg-type]  # the stand-in
    for _ in range(5):
        await asyncio.sleep(0.002)
    assert (len(producer.asked), waiting.done()) == (1, False)
    producer.may_end.set()
    await waiting


async def test_commit_that_failed_raises() -> None:
    """A fenced producer will never commit."""
    producer = SlowProducer(KafkaError(KafkaError._FENCED))
    producer.may_end.set()
    with pytest.raises(KafkaException):
        await commit_transaction(producer, lambda: True)  # type: ignore[arg-type]  # the stand-in
    assert len(producer.asked) == 1


@pytest.mark.parametrize("error", [None, KafkaError(KafkaError._FENCED)])
async def test_commit_of_a_lost_partition_is_given_up(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError | None
) -> None:
    """Its next owner completes or aborts it; what becomes of ours, nobody asks."""
    monkeypatch.setattr(commit, "_GRACE", 0.01)
    producer = SlowProducer(error)
    with pytest.raises(KafkaException):
        await commit_transaction(producer, lambda: False)  # type: ignore[arg-type]  # the stand-in
    producer.may_end.set()
    await asyncio.sleep(0.02)
