"""The interface of a publisher of consent events: results, errors, protocol."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, Self

from izin.consent.errors import OurError, SourceError
from izin.consent.model import ConsentEvent, ConsentKey
from izin.consent.violations import Violation
from izin.runtime.errors import BrokerError
from izin.schemas.consistency_token import LogPosition, token_of

DEFAULT_WAIT = timedelta(seconds=60)
"""How long a publisher blocks while its queue is full."""


class _Portable:
    """Of an error that task queues and pools of processes hand to another process."""

    _given: tuple[object, ...] = ()

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), self._given


class OversizeError(_Portable, SourceError):
    """An event larger than the broker accepts; its evidence should be stored elsewhere."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"event {event_id} is too large for Kafka; store its evidence elsewhere "
            "and send evidence_hash"
        )
        self._given = (event_id,)
        self.event_id = event_id


class BackpressureError(_Portable, BrokerError):
    """The queue to the broker stayed full for as long as the caller would wait."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("the queue to Kafka is full; the broker is slow or unreachable")
        self._given = (retry_after,)
        self.retry_after = retry_after


class UndeliveredError(_Portable, BrokerError):
    """The broker did not acknowledge an event in time; it may have it.

    Publishing the same event again is safe: its id is the same.
    """

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(f"event {event_id} was not acknowledged by Kafka: {reason}")
        self._given = (event_id, reason)
        self.event_id = event_id


class EventRefusedError(_Portable, SourceError):
    """An event that is not published; ``violations`` has every reason why."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(f"{one.field}: {one.reason} ({one.code})" for one in violations))
        self._given = (violations,)
        self.violations = violations


class UnacknowledgedError(_Portable, BrokerError):
    """Events that were not acknowledged when the publisher was closed; the broker may have some.

    ``event_ids`` names them. Publishing the same events again is safe.
    """

    def __init__(self, event_ids: tuple[str, ...]) -> None:
        super().__init__(
            f"{len(event_ids)} events were not acknowledged by Kafka when the publisher was "
            "closed; publish them again"
        )
        self._given = (event_ids,)
        self.event_ids = event_ids


class PublisherClosedError(_Portable, OurError):
    """The publisher was closed before."""

    def __init__(self) -> None:
        super().__init__("the publisher is closed; make another one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The position of a published event."""

    event_id: str
    topic: str
    partition: int
    offset: int
    appended_at: datetime | None = None
    """The broker's append time; None where the topic has the producers' times."""
    violations: tuple[Violation, ...] = ()
    """Of a validated event: why İYS would not register it as it stands. Any for an opt-out, only
    the end of its term for an opt-in."""

    @property
    def token(self) -> str:
        """The consistency token: what is read with it as ``at_least`` reflects this event."""
        return token_of([LogPosition(self.topic, self.partition, self.offset)])


PublishResult = Published | UndeliveredError | OversizeError
"""The result of publishing one event."""


class Resolve:
    """Resolves a future with the result of publishing an event that has these ``violations``."""

    __slots__ = ("_future", "_violations")

    def __init__(self, future: Future[Published], violations: tuple[Violation, ...] = ()) -> None:
        self._future = future
        self._violations = violations

    def __call__(self, result: PublishResult) -> None:
        """Take the result of the event."""
        if not isinstance(result, Published):
            self._future.set_exception(result)
        elif self._violations:
            self._future.set_result(replace(result, violations=self._violations))
        else:
            self._future.set_result(result)


class EventPublisher(Protocol):
    """The interface of a publisher of consent events."""

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,
        on_result: Callable[[PublishResult], None],
        *,
        wait: timedelta = DEFAULT_WAIT,
    ) -> None:
        """Enqueue ``event``; ``on_result`` is called with its result."""

    def publish(
        self,
        event: ConsentEvent,
        key: ConsentKey | None = None,
        *,
        wait: timedelta = DEFAULT_WAIT,
    ) -> Future[Published]:
        """Enqueue ``event``; the future is done when the broker has acknowledged it."""

    def flush(self, timeout: timedelta) -> int:
        """Wait for the results of all events; return how many are missing."""

    def bulk(self) -> AbstractContextManager[None]:
        """Within the context, results arrive in ``send`` and ``flush`` only: higher throughput."""
