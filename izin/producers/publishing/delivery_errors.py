"""Why an event is not published, or not known to be; each can be pickled."""

from datetime import timedelta
from typing import Self

from izin.consent import OurError, SourceError, Violation
from izin.runtime.errors import BrokerError


class _Portable:
    """Of an error that task queues and pools of processes hand to another process."""

    _given: tuple[object, ...]

    def __new__(cls, *given: object) -> Self:
        made = super().__new__(cls)
        made._given = given
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), self._given


class OversizeError(_Portable, SourceError):
    """An event larger than the broker accepts; its evidence should be stored elsewhere."""

    def __init__(self, event_id: str) -> None:
        super().__init__(
            f"event {event_id} is too large for Kafka; store its evidence elsewhere "
            "and send evidence_hash"
        )
        self.event_id = event_id


class BackpressureError(_Portable, BrokerError):
    """The queue to the broker stayed full for as long as the caller would wait."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("the queue to Kafka is full; the broker is slow or unreachable")
        self.retry_after = retry_after


class UndeliveredError(_Portable, BrokerError):
    """The broker did not acknowledge an event in time; it may have it.

    Publishing the same event again is safe: its id is the same.
    """

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(f"event {event_id} was not acknowledged by Kafka: {reason}")
        self.event_id = event_id


class EventRefusedError(_Portable, SourceError):
    """An event that is not published; ``violations`` has every reason why."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__(
            "; ".join(
                f"{violation.field}: {violation.reason} ({violation.code})"
                for violation in violations
            )
        )
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
        self.event_ids = event_ids


class PublisherClosedError(_Portable, OurError):
    """The publisher was closed before."""

    def __init__(self) -> None:
        super().__init__("the publisher is closed; make another one")
