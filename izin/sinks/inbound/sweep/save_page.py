"""Save what İYS answered about a page: the rows that differ, one fact for the page, the cursor.

All of it is one transaction. Of a million equal keys the history has a thousand facts, which name
nobody; each key that differs has its own. Gates that shut are published before all else of the
page.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from izin.consent.next_action import Registered
from izin.sinks.inbound.sweep.findings import KeyFinding, finding, is_as_known, may_be_asked
from izin.sinks.inbound.sweep.page_query import SweptPage
from izin.sinks.ledger.history.acts import sweep_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.sweep import cursor
from izin.sinks.ledger.sweep.sweeps import Sweep, SweepCounts
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.queries import status_answer
from izin.sinks.record import apply
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow, to_sweep_query

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
        changes = UnitOfWork(connection, context.topic_messages, context.ledger.calendar, now)
        for wanted in _FIRST:
            for key, found in findings.items():
                if found is wanted:
                    _write(changes, rows[key], found, page, brand)
        alone = _ask_refused(changes, page, rows)
        confirmed = [one.key for one in answered if _is_confirmed(one.registered, page, one.key)]
        counts = _counts(findings.values(), page, confirmed=len(confirmed), alone=alone)
        advanced = await cursor.advance(connection, sweep, page.keys[-1].key, counts)
        if advanced is None:
            return None
        await cursor.confirm(connection, confirmed, page.queried_at)
        changes.add_movement(_fact(advanced, page, counts, changes))
        await changes.write()
    return advanced


def _write(
    changes: UnitOfWork,
    row: ConsentRow,
    found: KeyFinding,
    page: SweptPage,
    brand: Brand,
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
        status_answer.rule(changes, row, observed, brand)


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


def _is_confirmed(registered: str, page: SweptPage, key: str) -> bool:
    return registered == Registered.ONAY and key in page.approved


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
