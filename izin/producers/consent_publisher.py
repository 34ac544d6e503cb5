"""Publish consents and opt-outs from a program of your own, synchronously or in an event loop.

Events are validated before they are sent, by the law itself, with every violation named. An opt-out
(RET) whose key can be read is never refused. A publication has returned when all in-sync replicas
of the broker have the event. Errors are a tree of :class:`IzinError`:

SourceError                  the caller acts
├── EventRefusedError        the event has violations
└── OversizeError            it is larger than the broker accepts
OurError                     an operator acts, or the call is repeated
├── BrokerError              Kafka cannot be reached
│   ├── BackpressureError    the queue stayed full for ``max_wait``
│   ├── UndeliveredError     not acknowledged in time; publish the same event again
│   └── UnacknowledgedError  what was not acknowledged when the publisher was closed
├── RegistryError            the schema registry cannot be reached, or refuses the schema
├── SettingError             the variables or the options of the connection cannot be used
└── PublisherClosedError     it was closed before
"""

import asyncio
import atexit
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self, assert_never
from weakref import WeakSet

from confluent_kafka import KafkaException

from izin.consent import Violation
from izin.kafka.access import KafkaAccess
from izin.kafka.tables.brand_directory import BrandDirectory, BrandReader
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.new_event import NewEvent, accept, never_free, observe_forks, utc_now
from izin.producers.publishing.delivery_errors import (
    BackpressureError,
    EventRefusedError,
    PublisherClosedError,
    UnacknowledgedError,
    UndeliveredError,
)
from izin.producers.publishing.publisher import (
    KafkaPublisher,
    Published,
    PublishResult,
    running,
    settle,
)
from izin.runtime.errors import SettingError

_RECORD = "ConsentEvent"
_GRACE = timedelta(seconds=5)
"""After the time of delivery, in which its result must have been handed over."""
_ROOM_EVERY = 0.02
_log = logging.getLogger(__name__)


class PublisherSession:
    """The clients of one process, connected.

    Raises:
        BrokerError: Kafka cannot be reached, or has no topic ``brands``.
        RegistryError: the schema registry cannot be used.
        SettingError: Kafka's client does not take the options.
    """

    def __init__(self, access: KafkaAccess, timeout: timedelta, linger: timedelta) -> None:
        codec = access.codec(writes=(_RECORD,))
        self.lost: list[str] = []
        """The ids of the events that were not acknowledged since it began to close."""
        self.is_closing = False
        with _checked_options(), ExitStack() as stack:
            stack.callback(codec.close)
            brands = BrandReader(access, codec)
            self.brands: BrandDirectory = stack.enter_context(brands.follow())
            self.publisher = KafkaPublisher(
                access, codec, clock=utc_now, delivery_timeout=timeout, linger=linger
            )
            self._following = stack.pop_all()

    def close(self, timeout: timedelta) -> tuple[str, ...]:
        """Flush and disconnect; return the ids of events that were not acknowledged."""
        self.is_closing = True
        with self._following:
            self.publisher.close(timeout)
        return tuple(self.lost)


def _settle(
    session: PublisherSession,
    future: Future[Published],
    violations: tuple[Violation, ...],
    result: PublishResult,
) -> None:
    """Settle the future of an event of ``session``, and note what is lost when it closes."""
    if session.is_closing and isinstance(result, UndeliveredError):
        session.lost.append(result.event_id)
    settle(future, violations, result)


@contextmanager
def _checked_options() -> Iterator[None]:
    """Raise SettingError where the block makes a client of Kafka with options that it refuses."""
    try:
        yield
    except KafkaException as error:
        raise SettingError(
            f"Kafka's client does not take an option: {error.args[0].str()}; correct it"
        ) from error


class _Submission(NamedTuple):
    """An event on its way."""

    event_id: str
    future: Future[Published]


class ConsentPublisher:
    """Publishes the events of one system, ``origin``, for the brands that are registered.

    It is safe in threads, in an event loop, and over a fork. It connects at the first event, once
    in each process: to Kafka for the events, and to the topic ``brands``, which names the customer
    of each brand. Close it, or use it as a context manager, ``with`` or ``async with``.
    """

    def __init__(
        self,
        origin: str,
        access: KafkaAccess | None = None,
        *,
        delivery_timeout: timedelta = timedelta(seconds=30),
        max_wait: timedelta = timedelta(seconds=5),
        linger: timedelta = timedelta(milliseconds=2),
    ) -> None:
        """Reach Kafka by ``access``; None: as the variables ``KAFKA_…`` of this process say.

        An event not acknowledged within ``delivery_timeout`` is undelivered. Where 100,000 events
        or 64 MB wait for the broker, the next one waits for room, up to ``max_wait``. Events wait
        up to ``linger`` to be sent together.

        Raises:
            SettingError: the variables contradict one another, or ``origin`` is empty.
        """
        if not origin.strip():
            raise SettingError("origin is empty; name the system that the events come from")
        self._origin = origin.strip()
        self._access = access or KafkaAccess.from_environment()
        self._delivery_timeout = delivery_timeout
        self._max_wait = max_wait
        self._linger = linger
        self._longest = (delivery_timeout + _GRACE).total_seconds()
        self._session: PublisherSession | None = None
        self._is_closed = False
        self._opening = threading.Lock()
        observe_forks(self)
        _open_publishers.add(self)

    def publish(self, event: NewEvent) -> Published:
        """Publish ``event``; return when the broker has acknowledged it.

        Raises:
            EventRefusedError: it has violations; never an opt-out whose key can be read.
            OversizeError: it is too large.
            BackpressureError: the queue to the broker stayed full.
            UndeliveredError: the broker did not acknowledge it in time.
            BrokerError: Kafka cannot be reached, or has no topic ``brands``, at the first event.
            RegistryError: the schema registry cannot be used at the first event.
            SettingError: Kafka's client does not take the options of ``access``.
            PublisherClosedError: the publisher was closed before.
        """
        sent = self._sent(self._session or self._opened(), event, self._max_wait)
        try:
            return sent.future.result(self._longest)
        except TimeoutError:
            raise _unanswered(sent) from None

    async def publish_async(self, event: NewEvent) -> Published:
        """Publish ``event`` as :meth:`publish` does, without blocking the event loop."""
        session = self._session
        if session is None:
            session = await asyncio.to_thread(self._opened)
        deadline = monotonic() + self._max_wait.total_seconds()
        while True:
            try:
                sent = self._sent(session, event, timedelta(0))
                break
            except BackpressureError:
                if monotonic() >= deadline:
                    raise
                await asyncio.sleep(_ROOM_EVERY)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(sent.future), self._longest)
        except TimeoutError:
            raise _unanswered(sent) from None

    def submit(self, event: NewEvent) -> Future[Published]:
        """Enqueue ``event``; the future has what :meth:`publish` returns, or why the event was not
        delivered. All else is raised at once, as :meth:`publish` does.

        Many events may be outstanding: so they are sent in batches.
        """
        return self._sent(self._session or self._opened(), event, self._max_wait).future

    def flush(self, timeout: timedelta | None = None) -> int:
        """Wait for the results of all events, at most for the time of delivery or ``timeout``;
        return how many are missing.
        """
        session = self._session
        if session is None:
            return 0
        return session.publisher.flush(self._delivery_timeout if timeout is None else timeout)

    def close(self, timeout: timedelta | None = None) -> None:
        """Flush, at most for the time of delivery or ``timeout``, and disconnect.

        Raises:
            UnacknowledgedError: events were not acknowledged by then.
        """
        with self._opening:
            session, self._session, self._is_closed = self._session, None, True
        _open_publishers.discard(self)
        if session is None:
            return
        lost = session.close(self._delivery_timeout if timeout is None else timeout)
        if lost:
            raise UnacknowledgedError(lost)

    async def close_async(self, timeout: timedelta | None = None) -> None:  # noqa: ASYNC109  # as of ``close``
        """Close as :meth:`close` does, without blocking the event loop."""
        await asyncio.to_thread(self.close, timeout)

    def forked(self) -> None:
        """Leave the clients to the parent, in the child of a fork: the next event makes others.

        What was outstanding is the parent's; futures of it are never done in the child.
        """
        if self._session is not None:
            never_free(self._session)
            self._session = None
        self._opening = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        # An error of the block is not replaced by what follows from it.
        with suppress(*[] if kind is None else [UnacknowledgedError]):
            self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, traceback)

    def _opened(self) -> PublisherSession:
        """Return the clients of this process, connected."""
        if not self._opening.acquire(timeout=self._max_wait.total_seconds()):
            raise BackpressureError(self._max_wait)
        try:
            if self._is_closed:
                raise PublisherClosedError
            if self._session is None:
                self._session = PublisherSession(self._access, self._delivery_timeout, self._linger)
            return self._session
        finally:
            self._opening.release()

    def _sent(self, session: PublisherSession, event: NewEvent, wait: timedelta) -> _Submission:
        if session.is_closing:
            raise PublisherClosedError
        match accept(event, self._origin, session.brands):
            case RefusedRecord(violations=violations):
                raise EventRefusedError(violations)
            case AcceptedRecord(event=accepted, key=key, violations=violations):
                future: Future[Published] = running()
                on_result = partial(_settle, session, future, violations)
                session.publisher.send(accepted, key, on_result, wait=wait)
                return _Submission(accepted.event_id, future)
            case never:
                assert_never(never)


_open_publishers: WeakSet[ConsentPublisher] = WeakSet()


@atexit.register
def _close_open_publishers() -> None:
    """Flush, at the end of the process, what nobody closed."""
    for open_publisher in list(_open_publishers):
        try:
            open_publisher.close()
        except UnacknowledgedError as error:
            _log.error("events not acknowledged", extra={"event_ids": error.event_ids})


def _unanswered(sent: _Submission) -> UndeliveredError:
    return UndeliveredError(sent.event_id, "there is no result")
