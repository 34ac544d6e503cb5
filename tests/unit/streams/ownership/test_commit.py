"""The end of a transaction is waited for, and given up when the partition is another's."""

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.streams.ownership import commit
from izin.streams.ownership.commit import while_assigned


class SlowEnd:
    """A transaction whose end lasts until `may_end`, and then raises `error`, if any."""

    def __init__(self, error: KafkaError | None = None) -> None:
        self.error = error
        self.may_end = asyncio.Event()
        self.is_cancelled = False

    async def end(self) -> str:
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self.error is not None:
            raise KafkaException(self.error)
        return "ended"


async def test_end_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the partition is ours it may take several looks at that."""
    monkeypatch.setattr(commit, "_GRACE", 0.001)
    transaction = SlowEnd()
    waiting = asyncio.create_task(while_assigned(transaction.end(), lambda: True))
    for _ in range(5):
        await asyncio.sleep(0.002)
    assert not waiting.done()
    transaction.may_end.set()
    assert await waiting == "ended"


async def test_end_that_failed_raises() -> None:
    """A fenced producer will never commit."""
    transaction = SlowEnd(KafkaError(KafkaError._FENCED))
    transaction.may_end.set()
    with pytest.raises(KafkaException):
        await while_assigned(transaction.end(), lambda: True)


async def test_end_of_a_lost_partition_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next owner completes or aborts it; nothing of ours goes on."""
    monkeypatch.setattr(commit, "_GRACE", 0.001)
    transaction = SlowEnd()
    with pytest.raises(KafkaException):
        await while_assigned(transaction.end(), lambda: False)
    await asyncio.sleep(0)
    assert transaction.is_cancelled


async def test_whoever_gives_up_waiting_ends_the_work() -> None:
    """What is cancelled leaves nothing behind that still writes."""
    transaction = SlowEnd()
    waiting = asyncio.create_task(while_assigned(transaction.end(), lambda: True))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert transaction.is_cancelled
