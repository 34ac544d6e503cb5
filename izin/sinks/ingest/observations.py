"""Save what İYS shows of keys: one function for every path by which it comes."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from izin.consent.business_days import Calendar
from izin.consent.fold import Observation
from izin.consent.model import ConsentKey
from izin.sinks.ledger.bulk.saving import BulkChanges, Change
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.ruling import RuledRow
from izin.sinks.record.state_change import first_row

_YIELD_EVERY = 100


class ObservedMovement(NamedTuple):
    """A movement at İYS, read."""

    key: ConsentKey
    observation: Observation | None
    """What it shows; None: it permits nothing, and is only recorded."""
    movement: Movement
    """Its record in the history."""
    is_ours: bool
    """Whether a submission of ours made it. It brings no key back that was erased since."""


async def observe(
    connection: Connection,
    changes: UnitOfWork,
    brand: Brand,
    observed: Sequence[ObservedMovement],
    *,
    calendar: Calendar,
) -> None:
    """Save what movements of a ``brand`` show; the history and what is not alike through
    ``changes``, which the caller writes in the same transaction.
    """
    now = changes.now

    def rule(after: ConsentRow) -> RuledRow:
        return ruling.rule_row(after, brand, now, calendar=calendar, observing=True)

    bulk = BulkChanges[ObservedMovement](changes, lambda change: rule(change.after))
    rows = await lock(connection, {str(one.key) for one in observed})
    occurrences = Counter(str(one.key) for one in observed)
    known, rest = set(rows), list[ObservedMovement]()
    for place, one in enumerate(observed):
        key = str(one.key)
        if one.is_ours and key not in known:
            continue
        changes.add_movement(one.movement)
        if one.observation is not None:
            known.add(key)
            before = rows.get(key)
            if before is None or occurrences[key] > 1:
                rest.append(one)
            else:
                after = apply.observed(before, one.observation)
                after = ruling.termed(after, brand, now, calendar=calendar)
                bulk.add(Change(before, after, one))
        if place % _YIELD_EVERY == _YIELD_EVERY - 1:
            # Let pushes in, which share this event loop.
            await asyncio.sleep(0)
    rest += await bulk.save(connection)
    for place, one in enumerate(rest):
        key = str(one.key)
        before = rows.get(key)
        entry = before or first_row(one.key, brand.customer_id, now)
        if one.observation is not None:
            entry = apply.observed(entry, one.observation)
        rows[key] = changes.apply(before, rule(entry))
        if place % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)
