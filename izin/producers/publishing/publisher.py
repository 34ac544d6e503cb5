"""The one door into Kafka for consent events, with an answer for each.

Written with ``acks=all`` and idempotence: an event is published when its answer says so.

One implementation serves a single signup and a file of millions: ``send`` hands to librdkafka and
calls back with the broker's answer; ``publish`` is the same with a future. A thread takes the
answers as soon as they come. In ``bulk`` the publishing thread does that itself, for two would
fight over the interpreter at each event.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Protocol, Self

from confluent_kafka import KafkaError, KafkaException

from izin.consent.errors import SourceError
from izin.producers.publishing.kafka_record import kafka_record
from izin.runtime.kafka import BrokerError, producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    from confluent_kafka import Message

    from izin.consent.model import ConsentEvent, ConsentKey
    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec

BULK_LINGER = timedelta(milliseconds=20)

_POLL = 0.1
_PING = 2.0
_DEFAULT_WAIT = timedelta(seconds=60)


class OversizeError(SourceError):
    """An event larger than the broker takes; its evidence should be kept elsewhere."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"event {event_id} is too large for Kafka; keep its evidence elsewhere "
            "and send evidence_hash"
        )
        self.event_id = event_id


class BackpressureError(BrokerError):
    """The queue to the broker is full, and stayed so as long as the caller would wait."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("the queue to Kafka is full; the broker is slow or away")
        self.retry_after = retry_after


class UndeliveredError(BrokerError):
    """The broker did not acknowledge an event in time; it may or may not have it.

    Publishing the same event again is safe: its id is the same.
    """

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(f"event {event_id} was not acknowledged by Kafka: {reason}")
        self.event_id = event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Where an event stands now."""

    event_id: str
    topic: str
    partition: int
    offset: int


PublishResult = Published | UndeliveredError | OversizeError
"""What the broker said of an event."""


class EventPublisher(Protocol):
    """What importers and doors need of a publisher."""

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        answered: Callable[[PublishResult], None],
        *,
        wait: timedelta = _DEFAULT_WAIT,
    ) -> None:
        """Hand ``event`` over; ``answered`` is called once the broker has it, or will not."""

    def publish(
        self,
        event: ConsentEvent,
        key: ConsentKey | None = None,
        *,
        wait: timedelta = _DEFAULT_WAIT,
    ) -> Future[Published]:
        """Hand ``event`` over; the future is done when the broker has it."""

    def flush(self, timeout: timedelta) -> int:
        """Wait until everything handed over is answered; return how many are not."""

    def is_reachable(self) -> bool:
        """Whether the broker answers now."""

    def bulk(self) -> AbstractContextManager[None]:
        """Within it answers come in ``send`` and ``flush`` only, and much more gets through."""


class KafkaPublisher:
    """Publishes consent events to Kafka. Any thread may use it; close it, or use ``with``.

    ``linger`` is how long an event waits for company: the default is for doors, where a person
    waits; ``BULK_LINGER`` is for files.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        *,
        clock: Callable[[], datetime],
        delivery_timeout: timedelta = timedelta(seconds=60),
        linger: timedelta = timedelta(milliseconds=1),
    ) -> None:
        self._codec = codec
        self._clock = clock
        self._topics = settings.topics
        self._retry_after = delivery_timeout
        self._producer = producer(
            settings,
            **{
                "linger.ms": linger / timedelta(milliseconds=1),
                "message.timeout.ms": int(delivery_timeout.total_seconds() * 1000),
                "queue.buffering.max.messages": 100_000,
                "queue.buffering.max.kbytes": 64 * 1024,
            },
        )
        self._is_bulk = False
        self._resting = threading.Event()
        self._poller: threading.Thread
        self._work()

    def publish(
        self,
        event: ConsentEvent,
        key: ConsentKey | None = None,
        *,
        wait: timedelta = _DEFAULT_WAIT,
    ) -> Future[Published]:
        """Hand ``event`` over, as ``send`` does; the future is done when the broker has it."""
        future: Future[Published] = Future()
        future.set_running_or_notify_cancel()
        self.send(event, key, _Resolve(future), wait=wait)
        return future

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        answered: Callable[[PublishResult], None],
        *,
        wait: timedelta = _DEFAULT_WAIT,
    ) -> None:
        """Hand ``event`` over; ``answered`` is called once the broker has it, or will not.

        ``key`` is the canonical key where the caller has read it already. Blocks while the queue is
        full, at most for ``wait``. Raises BackpressureError, BrokerError, OversizeError and
        UnencodableError; the future fails with UndeliveredError or OversizeError.
        """
        record = kafka_record(event, key, self._clock(), self._topics, self._codec)
        deadline = monotonic() + wait.total_seconds()
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=record.headers,
                    on_delivery=_Delivery(event.event_id, answered),
                )
            except BufferError:
                if monotonic() >= deadline:
                    raise BackpressureError(self._retry_after) from None
                self._producer.poll(_POLL)
            except KafkaException as error:
                raise _refused(event.event_id, error.args[0]) from error
            else:
                if self._is_bulk:
                    self._producer.poll(0)
                return

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Take answers in ``send`` and ``flush`` only; one thread may publish meanwhile."""
        self._rest()
        self._is_bulk = True
        try:
            yield
        finally:
            self._is_bulk = False
            self._work()

    def flush(self, timeout: timedelta) -> int:
        """Wait until everything handed over is answered; return how many are not."""
        return self._producer.flush(timeout.total_seconds())

    def is_reachable(self) -> bool:
        """Whether the broker answers now, and knows the topic. Blocks for two seconds at most."""
        name = self._topics.events.name
        try:
            found = self._producer.list_topics(name, timeout=_PING).topics[name]
        except KafkaException:
            return False
        return found.error is None

    def close(self, timeout: timedelta = timedelta(seconds=30)) -> None:
        """Wait for what is under way, then stop."""
        self._producer.flush(timeout.total_seconds())
        self._rest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _work(self) -> None:
        self._resting.clear()
        self._poller = threading.Thread(target=self._poll, name="publisher", daemon=True)
        self._poller.start()

    def _rest(self) -> None:
        self._resting.set()
        self._poller.join()

    def _poll(self) -> None:
        while not self._resting.is_set():
            self._producer.poll(_POLL)


class _Delivery:
    """Turns what librdkafka says of a record into an answer."""

    __slots__ = ("_answered", "_event_id")

    def __init__(self, event_id: str, answered: Callable[[PublishResult], None]) -> None:
        self._event_id = event_id
        self._answered = answered

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._answered(_refused(self._event_id, error))
            return
        self._answered(
            Published(
                event_id=self._event_id,
                topic=message.topic() or "",
                partition=message.partition() or 0,
                offset=message.offset() or 0,
            )
        )


class _Resolve:
    """Resolves a future with the answer."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Published]) -> None:
        self._future = future

    def __call__(self, answer: PublishResult) -> None:
        if isinstance(answer, Published):
            self._future.set_result(answer)
        else:
            self._future.set_exception(answer)


def _refused(event_id: str, error: KafkaError) -> UndeliveredError | OversizeError:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return OversizeError(event_id)
    return UndeliveredError(event_id, error.str())
