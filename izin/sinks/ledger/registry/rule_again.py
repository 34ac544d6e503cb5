"""Rule the records of a brand again, after the brand has changed or by a person's order."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from izin.consent.business_days import Calendar
from izin.consent.transitions import Event, State
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import act
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.registry.ownership import alert
from izin.sinks.ledger.registry.row_owner import OtherCustomerOptIn, is_of_another, owned
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.state_change import transition

_CHUNK = 1000
_CONSENTS = statements("consents")


async def rule_again(  # noqa: PLR0913 - one loop for both orders
    ledger: Ledger,
    topic_messages: TopicMessages,
    brand: Brand | None,
    query: str,
    values: Mapping[str, Any],
    *,
    now: datetime,
    by: str | None = None,
) -> int:
    """Rule the records of ``brand`` that a ``query`` of ``consents.sql`` claims with ``values``;
    return how many.

    Without ``by``, who ordered it, parked records stay parked, but for those whose brand was
    unknown; with it, the history of each has who did.
    """
    after, seen = "", 0
    while True:
        async with ledger.transaction() as connection:
            found = await connection.execute(
                _CONSENTS[query], {**values, "after": after, "size": _CHUNK}
            )
            rows = list(map(ConsentRow.from_row, await found.fetchall()))
            if not rows:
                return seen
            changes = UnitOfWork(connection, topic_messages, ledger.calendar, now)
            ruled, of_others = rule_page(changes, rows, brand, ledger.calendar, by=by)
            seen += ruled
            await changes.write()
        alert(of_others)
        after = rows[-1].key


def rule_page(
    changes: UnitOfWork,
    rows: Iterable[ConsentRow],
    brand: Brand | None,
    calendar: Calendar,
    *,
    by: str | None = None,
) -> tuple[int, list[OtherCustomerOptIn]]:
    """Rule some records of ``brand`` as :func:`rule_again` does; return how many, and the opt-ins
    of other customers among them, which are to be alerted of once the changes are written.
    """
    seen, of_others = 0, []
    for row in rows:
        if brand is not None and _was_of_another(row, brand) and by is None:
            of_others.append(
                OtherCustomerOptIn(brand_code=brand.brand_code, customer_id=row.customer_id)
            )
        seen += _rule(changes, row, brand, calendar, by=by)
    return seen, of_others


def _was_of_another(row: ConsentRow, brand: Brand | None) -> bool:
    """Whether a row that was parked before its brand was known is an opt-in of another customer."""
    return row.reason == ruling.UNKNOWN_BRAND and is_of_another(row, brand)


def _rule(
    changes: UnitOfWork,
    row: ConsentRow,
    brand: Brand | None,
    calendar: Calendar,
    *,
    by: str | None,
) -> bool:
    now, own = changes.now, owned(row, brand)
    if row.state is not State.PARKED:
        row_now = own
    elif by is not None:
        row_now = ruling.requeue(own)
    elif row.reason != ruling.UNKNOWN_BRAND or _was_of_another(row, brand):
        if row.reason == ruling.UNKNOWN_BRAND:
            own = own.replace(reason=ruling.OTHER_CUSTOMER)
        changes.put(row, ruling.with_terms(own, brand, now, calendar=calendar))
        return False
    else:
        row_now = transition(own, Event.REQUEUE)
    ruled = ruling.rule_row(row_now, brand, now, calendar=calendar)
    if row.state is State.PARKED and by is not None:
        changes.add_movement(_requeued(row, ruled.row, by, now))
    changes.apply(row, ruled)
    return True


def _requeued(row: ConsentRow, after: ConsentRow, by: str, now: datetime) -> Movement:
    """Return the movement of a person's order: it shows why a parked record was submitted."""
    return act(
        "requeue",
        row.key,
        by=by,
        now=now,
        before={"state": row.state, "reason": row.reason, "code": row.code},
        after={"state": after.state, "reason": after.reason, "code": after.code},
        customer_id=after.customer_id,
        event_id=row.desired_event_id,
        status=row.desired_status,
    )
