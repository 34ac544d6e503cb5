"""The interface of a publisher of consent events: results, errors, protocol."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from izin.consent.errors import SourceError
from izin.consent.model import ConsentEvent, ConsentKey
from izin.runtime.errors import BrokerError

DEFAULT_WAIT = timedelta(seconds=60)
"""How long a publisher blocks while its queue is full."""


class OversizeError(SourceError):
    """An event larger than the broker accepts; its evidence should be stored elsewhere."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"event {event_id} is too large for Kafka; store its evidence elsewhere "
            "and send evidence_hash"
        )
        self.event_id = event_id


class BackpressureError(BrokerError):
    """The queue to the broker stayed full for as long as the caller would wait."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("the queue to Kafka is full; the broker is slow or unreachable")
        self.retry_after = retry_after


class UndeliveredError(BrokerError):
    """The broker did not acknowledge an event in time; it may have it.

    Publishing the same event again is safe: its id is the same.
    """

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(f"event {event_id} was not acknowledged by Kafka: {reason}")
        self.event_id = event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The position of a published event."""

    event_id: str
    topic: str
    partition: int
    offset: int
    appended_at: datetime | None = None
    """The broker's append time; None where the topic has the producers' times."""


PublishResult = Published | UndeliveredError | OversizeError
"""The result of publishing one event."""


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
