"""The only place where the state of a row changes, by the table of ``consent.transitions``.

SQL that changes states in bulk (claims, receipts, templates) is held to the same table by the
database's guard.

A failed submission is tried again: an opt-out after seconds, an opt-in after minutes.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from izin.consent import BEGINNING, Action, ConsentKey, State, Status, after
from izin.consent.transitions import Event
from izin.ledger.record.consent_row import ConsentRow
from izin.runtime.backoff import Backoff

OPT_OUT_BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=3))
"""Short: while İYS is away, the circuit breaker bounds the calls."""
_BACKOFFS: Mapping[str | None, Backoff] = {
    Status.RET: OPT_OUT_BACKOFF,
    Status.ONAY: Backoff(timedelta(seconds=5), timedelta(minutes=15)),
}


def transition(row: ConsentRow, event: Event, **columns: Any) -> ConsentRow:  # noqa: ANN401 - a column's value each
    """Return ``row`` after ``event`` of its obligation, with ``columns`` changed.

    Raises:
        IllegalTransitionError: the table has no such transition; nothing is changed.
    """
    return row.replace(state=after(row.state, event), **columns)


def begin(row: ConsentRow, **columns: Any) -> ConsentRow:  # noqa: ANN401 - a column's value each
    """Return ``row`` with a new obligation, which a newer event starts in any state."""
    return row.replace(state=BEGINNING, **columns)


def first_row(key: ConsentKey, customer_id: str, now: datetime) -> ConsentRow:
    """Return the row of a new key, for which nothing is desired yet."""
    return ConsentRow(
        key=str(key),
        customer_id=customer_id,
        brand_code=key.brand_code,
        channel=str(key.channel),
        recipient_type=str(key.recipient_type),
        recipient=key.recipient,
        state=State.NOT_NEEDED,
        updated_at=now,
    )


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
