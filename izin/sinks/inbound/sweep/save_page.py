"""Save what İYS answered about a page of keys: what it shows of each, the rows, and the cursor.

The answer names what is ONAY. Presence is ONAY, without a date or a source. Absence is RET or no
record. So an ONAY that is believed and absent is a suspected opt-out, and an ONAY beside an opt-out
opens nothing: the query of that key alone decides about both.

All of it is one transaction. Of a million equal keys the history has a thousand facts, which name
nobody; each key that differs has its own. Gates that shut are published before all else of the
page.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum

from izin.consent.model import Status
from izin.consent.next_action import Action, Registered
from izin.sinks.inbound.sweep.page_query import SweptPage
from izin.sinks.ledger.history.acts import sweep_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.sweep import sweeps
from izin.sinks.ledger.sweep.sweeps import Sweep, SweepCounts, SweptKey
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.queries import status_answer
from izin.sinks.record import apply
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow, to_sweep_query


class KeyFinding(StrEnum):
    """What a key's answer means."""

    SHUT = "shut"
    """ONAY was believed and İYS shows none: nothing may be sent, and the key is queried alone."""
    FOUND = "found"
    """İYS holds an ONAY that was not known, and there is no opt-out."""
    ASKED = "asked"
    """İYS shows ONAY beside an opt-out: the key is queried alone, and nothing opens before."""
    SKIPPED = "skipped"
    """It cannot be judged: the key changed, or something is due that reads İYS's answer itself."""


def is_as_known(key: SweptKey, *, is_approved: bool) -> bool:
    """Whether the answer changes nothing: ONAY as believed, or neither."""
    return is_approved == (key.registered == Registered.ONAY)


def finding(
    key: SweptKey, row: ConsentRow | None, *, is_approved: bool, queried_at: datetime
) -> KeyFinding:
    """Return what an answer means that is not as known; ``row`` is the key's, locked.

    What moved since İYS was asked is not judged: a consent that it took a moment ago was not there
    yet when it answered.
    """
    if row is None or row.is_open or _has_moved(key, row, queried_at):
        return KeyFinding.SKIPPED
    is_due = row.action is not Action.NOTHING
    if not is_approved:
        is_opting_out = row.desired_status == Status.RET and is_due
        return KeyFinding.SKIPPED if is_opting_out else KeyFinding.SHUT
    if is_due:
        return KeyFinding.SKIPPED
    is_opted_out = Status.RET in {row.desired_status, row.registered}
    return KeyFinding.ASKED if is_opted_out or row.latest_ret_at is not None else KeyFinding.FOUND


def may_be_asked(key: SweptKey, row: ConsentRow, *, queried_at: datetime) -> bool:
    """Whether a key that İYS refuses among many is queried alone: ONAY is believed, and nothing is
    due for it.
    """
    return (
        key.registered == Registered.ONAY
        and row.action is Action.NOTHING
        and not row.is_open
        and not _has_moved(key, row, queried_at)
    )


def _has_moved(key: SweptKey, row: ConsentRow, queried_at: datetime) -> bool:
    before = (key.registered, key.registered_at, key.last_exchange_at)
    return before != (row.registered, row.registered_at, row.last_exchange_at) or (
        row.registered_at is not None and row.registered_at >= queried_at
    )


_FIRST = (KeyFinding.SHUT, KeyFinding.ASKED, KeyFinding.FOUND)
"""In which order findings are written."""


async def save_page(
    context: OutboundContext, sweep: Sweep, page: SweptPage, brand: Brand
) -> Sweep | None:
    """Save a page and return the sweep behind it; None where the sweep has ended: nothing is saved.

    Raises:
        ConcurrentChangeError: a row changed although it was locked; the page is repeated.
    """
    answered = [one for one in page.keys if one.key not in page.refused]
    differing = {
        one.key: one for one in answered if not is_as_known(one, is_approved=page.is_approved(one))
    }
    now = context.clock()
    async with context.ledger.transaction() as connection:
        rows = await lock(connection, [*differing, *page.refused])
        findings = {
            key: finding(
                one, rows.get(key), is_approved=page.is_approved(one), queried_at=page.queried_at
            )
            for key, one in differing.items()
        }
        changes = UnitOfWork(context.topic_messages, now=now)
        for wanted in _FIRST:
            for key, found in findings.items():
                if found is wanted:
                    _write(changes, rows[key], found, page, brand, context)
        alone = _ask_refused(changes, page, rows)
        confirmed = [
            one.key
            for one in answered
            if one.registered == Registered.ONAY and page.is_approved(one)
        ]
        counts = _counts(findings.values(), page, confirmed=len(confirmed), alone=alone)
        advanced = await sweeps.advance(connection, sweep, page.keys[-1].key, counts)
        if advanced is None:
            return None
        await sweeps.confirm(connection, confirmed, page.queried_at)
        changes.add_movement(_fact(advanced, page, counts, changes))
        await changes.write(connection)
    return advanced


def _write(  # noqa: PLR0913, PLR0917 - the row, what was found of it, and what rules it
    changes: UnitOfWork,
    row: ConsentRow,
    found: KeyFinding,
    page: SweptPage,
    brand: Brand,
    context: OutboundContext,
) -> None:
    """Write what was found of a row; what is queried alone is ruled by that answer."""
    if found is KeyFinding.ASKED:
        changes.put(row, to_sweep_query(row, changes.now))
        return
    shown = status_answer.observation_of_many(
        approved=found is KeyFinding.FOUND, queried_at=page.queried_at
    )
    changes.add_movement(status_answer.observation(row, shown, changes.now))
    observed = apply.observed(row, shown)
    if found is KeyFinding.SHUT:
        changes.put(row, to_sweep_query(observed, changes.now))
    else:
        status_answer.rule(changes, row, observed, brand, calendar=context.ledger.calendar)


def _ask_refused(changes: UnitOfWork, page: SweptPage, rows: Mapping[str, ConsentRow]) -> int:
    """Have the keys queried alone that İYS refuses and holds as ONAY; return how many."""
    asked = 0
    for one in page.keys:
        row = rows.get(one.key)
        if row is None or one.key not in page.refused:
            continue
        if may_be_asked(one, row, queried_at=page.queried_at):
            changes.put(row, to_sweep_query(row, changes.now))
            asked += 1
    return asked


def _counts(
    findings: Iterable[KeyFinding], page: SweptPage, *, confirmed: int, alone: int
) -> SweepCounts:
    counted = Counter(findings)
    return SweepCounts(
        queried=len(page.keys),
        confirmed=confirmed,
        shut=counted[KeyFinding.SHUT],
        found=counted[KeyFinding.FOUND],
        asked=counted[KeyFinding.ASKED] + alone,
        skipped=counted[KeyFinding.SKIPPED],
        refused=len(page.refused),
    )


def _fact(sweep: Sweep, page: SweptPage, counts: SweepCounts, changes: UnitOfWork) -> Movement:
    """Return the history's record of a page."""
    channel, recipient_type = page.keys[0].group
    return Movement(
        kind="observation",
        customer_id=sweep.customer_id,
        key=sweep_key(sweep.id),
        event_id=None,
        status=None,
        source=f"sweep/{sweep.id}/{sweep.pages}",
        occurred_at=changes.now,
        data={
            "by": "sweep",
            "brand_code": sweep.brand_code,
            "channel": channel,
            "recipient_type": recipient_type,
            "queried_at": page.queried_at,
            **asdict(counts),
        },
    )
