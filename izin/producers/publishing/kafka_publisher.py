"""The publisher of consent events to Kafka, with a result for each event.

Events are written with ``acks=all`` and idempotence; an event is published once its result says so.

One implementation serves a single signup and a file of millions: ``send`` enqueues in librdkafka
and calls back with the result; ``publish`` returns a future instead. A thread polls for results. In
``bulk`` the publishing thread polls itself, for two threads would contend for the interpreter at
every event.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Self

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message

from izin.consent.making import maker
from izin.consent.model import ConsentEvent, ConsentKey
from izin.producers.publishing.event_publisher import (
    DEFAULT_WAIT,
    BackpressureError,
    OversizeError,
    Published,
    PublishResult,
    Resolve,
    UndeliveredError,
)
from izin.producers.publishing.kafka_record import KafkaRecord, kafka_record
from izin.runtime.kafka_clients import producer
from izin.runtime.kafka_environment import KafkaAccess
from izin.schemas.codec import Codec

BULK_LINGER = timedelta(milliseconds=20)

_published = maker(Published)
_QUEUED_EVENTS = 100_000
_POLL_TIMEOUT = 0.1
_PURGED_WITHIN = 5.0


class KafkaPublisher:
    """A thread-safe publisher; close it, or use it as a context manager.

    ``linger`` is how long an event waits to be batched: the default suits an endpoint, where a
    person waits, and ``BULK_LINGER`` files.
    """

    def __init__(
        self,
        access: KafkaAccess,
        codec: Codec,
        *,
        clock: Callable[[], datetime],
        delivery_timeout: timedelta = timedelta(seconds=60),
        linger: timedelta = timedelta(milliseconds=1),
    ) -> None:
        self._codec = codec
        self._clock = clock
        self._topics = access.topics
        self._retry_after = delivery_timeout
        self._producer = producer(
            access,
            **{
                "linger.ms": linger / timedelta(milliseconds=1),
                "message.timeout.ms": int(delivery_timeout.total_seconds() * 1000),
                "queue.buffering.max.messages": _QUEUED_EVENTS,
                "queue.buffering.max.kbytes": 64 * 1024,
            },
        )
        self._is_bulk = False
        self._stopped = threading.Event()
        self._poller: threading.Thread
        self._start_polling()

    def publish(
        self,
        event: ConsentEvent,
        key: ConsentKey | None = None,
        *,
        wait: timedelta = DEFAULT_WAIT,
    ) -> Future[Published]:
        """Enqueue ``event`` as ``send`` does; the future is done when it is acknowledged."""
        future: Future[Published] = Future()
        future.set_running_or_notify_cancel()
        self.send(event, key, Resolve(future), wait=wait)
        return future

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        on_result: Callable[[PublishResult], None],
        *,
        wait: timedelta = DEFAULT_WAIT,
    ) -> None:
        """Enqueue ``event``; ``on_result`` is called with its result.

        ``key`` is the canonical key where the caller has read it already. Blocks while the queue is
        full, for at most ``wait``.

        Raises:
            BackpressureError: the queue stayed full.
            OversizeError: the event is too large.
            UnencodableError: a value does not fit the schema.
        """
        record = kafka_record(event, key, self._clock(), self._topics, self._codec)
        self._send(event.event_id, record, on_result, wait)

    def append(self, event_id: str, record: KafkaRecord) -> Future[Published]:
        """Enqueue ``record`` about an event; the future is done when it is acknowledged.

        Raises as ``send`` does, and never blocks.
        """
        future: Future[Published] = Future()
        future.set_running_or_notify_cancel()
        self._send(event_id, record, Resolve(future), timedelta(0))
        return future

    def _send(
        self,
        event_id: str,
        record: KafkaRecord,
        on_result: Callable[[PublishResult], None],
        wait: timedelta,
    ) -> None:
        deadline = monotonic() + wait.total_seconds()
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=record.headers,
                    on_delivery=_Delivery(event_id, on_result),
                )
            except BufferError:
                if monotonic() >= deadline:
                    raise BackpressureError(self._retry_after) from None
                self._producer.poll(_POLL_TIMEOUT)
            except KafkaException as error:
                raise _refused(event_id, error.args[0]) from error
            else:
                if self._is_bulk:
                    self._producer.poll(0)
                return

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """Poll for results in ``send`` and ``flush`` only; one thread may publish meanwhile."""
        self._stop_polling()
        self._is_bulk = True
        try:
            yield
        finally:
            self._is_bulk = False
            self._start_polling()

    def flush(self, timeout: timedelta) -> int:
        """Wait for the results of all events; return how many are missing."""
        return self._producer.flush(timeout.total_seconds())

    def close(self, timeout: timedelta = timedelta(seconds=30)) -> None:
        """Flush, then stop polling. What is not acknowledged by then has UndeliveredError as its
        result; the broker may have it.
        """
        if self._producer.flush(timeout.total_seconds()):
            self._producer.purge()
            self._producer.flush(_PURGED_WITHIN)
        self._stop_polling()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start_polling(self) -> None:
        self._stopped.clear()
        self._poller = threading.Thread(target=self._poll, name="publisher", daemon=True)
        self._poller.start()

    def _stop_polling(self) -> None:
        self._stopped.set()
        self._poller.join()

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._producer.poll(_POLL_TIMEOUT)


class _Delivery:
    """librdkafka's delivery callback for one event."""

    __slots__ = ("_event_id", "_on_result")

    def __init__(self, event_id: str, on_result: Callable[[PublishResult], None]) -> None:
        self._event_id = event_id
        self._on_result = on_result

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._on_result(_refused(self._event_id, error))
            return
        self._on_result(
            _published(
                event_id=self._event_id,
                topic=message.topic() or "",
                partition=message.partition() or 0,
                offset=message.offset() or 0,
                appended_at=_appended_at(message),
            )
        )


def _appended_at(message: Message) -> datetime | None:
    kind, milliseconds = message.timestamp()
    if kind != TIMESTAMP_LOG_APPEND_TIME:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _refused(event_id: str, error: KafkaError) -> UndeliveredError | OversizeError:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return OversizeError(event_id)
    return UndeliveredError(event_id, error.str())
