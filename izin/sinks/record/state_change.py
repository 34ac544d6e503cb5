"""The only place where the state of a row changes, by the table of ``consent.transitions``.

SQL that changes states in bulk (claims, receipts, templates) is held to the same table by the
database's guard.
"""

from datetime import datetime
from typing import Any

from izin.consent.model import ConsentKey
from izin.consent.transitions import BEGINNING, Event, State, after
from izin.sinks.record.consent_row import ConsentRow


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
