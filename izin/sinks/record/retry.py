"""When a failed submission is tried again: an opt-out after seconds, an opt-in after minutes."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from izin.consent.model import Status
from izin.consent.next_action import Action
from izin.consent.transitions import Event
from izin.runtime.backoff import Backoff
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.state_change import transition

OPT_OUT_BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=3))
"""Short: while İYS is away, the circuit breaker bounds the calls."""
_BACKOFFS: Mapping[str | None, Backoff] = {
    Status.RET: OPT_OUT_BACKOFF,
    Status.ONAY: Backoff(timedelta(seconds=5), timedelta(minutes=15)),
}


def retry(
    row: ConsentRow,
    now: datetime,
    reason: str,
    code: str | None,
    retry_after: timedelta | None = None,
) -> ConsentRow:
    """Return the row, due again after a backoff: seconds for an opt-out, minutes otherwise."""
    return transition(
        row,
        Event.RETRY,
        action=Action.SEND,
        reason=reason,
        code=code,
        next_attempt_at=now
        + _BACKOFFS[row.desired_status].after(row.attempts, at_least=retry_after),
        lease_owner=None,
        lease_until=None,
    )
