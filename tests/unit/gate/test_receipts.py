"""Receipts are written, or nobody is answered; over a producer in memory."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.gate import receipts
from izin.gate.receipts import ReceiptRecord, ReceiptWriter
from izin.runtime.errors import BrokerError
from tests.unit.gate.fakes import TOPICS

Delivered = Callable[[KafkaError | None, Any], None]


class FakeProducer:
    """Acknowledges in ``poll``, as librdkafka does; ``room`` is that of its queue."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.fault: KafkaError | None = None
        self.refusal: KafkaError | None = None
        self.is_silent = False
        self.written: list[bytes] = []
        self._waiting: deque[Delivered] = deque()
        self._wake = threading.Event()

    def produce(self, _topic: str, *, value: bytes, on_delivery: Delivered, **_: object) -> None:
        """Enqueue."""
        if self.refusal is not None:
            raise KafkaException(self.refusal)
        if len(self._waiting) >= self.room:
            raise BufferError
        self.written.append(value)
        self._waiting.append(on_delivery)
        self._wake.set()

    def poll(self, timeout: float) -> int:
        """Acknowledge."""
        if not self._wake.wait(timeout) or self.is_silent:
            return 0
        self._wake.clear()
        while self._waiting:
            self._waiting.popleft()(self.fault, None)
        return 1

    def flush(self, _timeout: float) -> int:
        """Be empty."""
        return 0


def some(count: int) -> list[ReceiptRecord]:
    """Return so many receipts."""
    return [ReceiptRecord(b"id", b"%d" % number, []) for number in range(count)]


def writer(*producers: FakeProducer) -> ReceiptWriter:
    """Return a writer that takes these producers one after the other."""
    left = iter(producers)
    return ReceiptWriter(TOPICS.gate_receipts, lambda: next(left))  # type: ignore[arg-type,return-value]


async def test_all_are_acknowledged_though_the_queue_is_small():
    """Whoever writes waits for room."""
    producer = FakeProducer(room=3)
    with writer(producer).open() as one:
        await one.write(some(1200))
        await one.write([])
    assert producer.written == [value for _, value, _ in some(1200)]


async def test_one_that_is_not_acknowledged_fails_all():
    """With Kafka's own words."""
    producer = FakeProducer()
    producer.fault = KafkaError(KafkaError._MSG_TIMED_OUT)
    with writer(producer).open() as one:
        with pytest.raises(BrokerError, match=r"gate-receipts: .*timed out"):
            await one.write(some(2))
        producer.fault = None
        await one.write(some(2))


async def test_kafka_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch):
    """And what it says later is nobody's."""
    monkeypatch.setattr(receipts, "DELIVERED_WITHIN", 0.05)
    producer = FakeProducer()
    producer.is_silent = True
    with writer(producer).open() as one:
        with pytest.raises(BrokerError, match="in time"):
            await one.write(some(1))
        producer.is_silent = False
        producer._wake.set()
        await one.write(some(1))
        await asyncio.sleep(0)


async def test_producer_that_failed_for_good_is_replaced():
    """An idempotent one does, where it lost its place; the next question has its receipt."""
    first, second = FakeProducer(), FakeProducer()
    first.refusal = KafkaError(KafkaError._FATAL, "lost", fatal=True)
    with writer(first, second).open() as one:
        with pytest.raises(BrokerError, match="lost"):
            await one.write(some(1))
        await one.write(some(1))
    assert len(second.written) == 1
