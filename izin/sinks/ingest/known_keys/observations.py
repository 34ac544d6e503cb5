"""Save what İYS shows of keys in bulk: one function for every path by which it comes."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence

from izin.consent.business_days import Calendar
from izin.sinks.ingest.known_keys.foresight import Foresight
from izin.sinks.ingest.known_keys.movements import (
    Observations,
    ObservedMovement,
    SeenMovement,
    SeenRow,
    seen_movement,
)
from izin.sinks.ingest.known_keys.saving import BulkChanges, lock_known
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record.brand import Brand
from izin.sinks.record.state_change import first_row

_YIELD_EVERY = 50


async def seen_movements(observed: Iterable[ObservedMovement]) -> list[SeenMovement]:
    """Return what ``observed`` movements show, whatever their rows are: what can be done before the
    transaction.
    """
    seen = []
    for place, one in enumerate(observed):
        seen.append(seen_movement(one))
        if place % _YIELD_EVERY == _YIELD_EVERY - 1:
            # Let pushes in, which share this event loop.
            await asyncio.sleep(0)
    return seen


async def observe(  # noqa: PLR0913  # where, whose, what, and how
    connection: Connection,
    changes: UnitOfWork,
    brand: Brand,
    seen: Sequence[SeenMovement],
    *,
    calendar: Calendar,
    foresight: Foresight | None = None,
) -> None:
    """Save what movements of a ``brand`` show; the history and what is not alike through
    ``changes``, which the caller writes in the same transaction.

    Their rows are locked, but for those that ``foresight`` has read: within its ``stored``. What a
    submission of ours made is locked too, for whether the key has a row counts then.

    Raises:
        ConcurrentChangeError: a row is not where it was read.
    """
    keys = {one.key for one in seen}
    ours = {one.key for one in seen if one.movement.is_ours}
    foreseen, unread = ({}, keys) if foresight is None else foresight.take(keys)
    rows = {key: row for key, row in foreseen.items() if key not in ours}
    rows |= await lock_known(connection, unread | ours)
    occurrences = Counter(one.key for one in seen)
    kind = Observations(brand, now=changes.now, calendar=calendar)
    bulk = BulkChanges[SeenRow](kind=kind, topic_messages=changes.topic_messages)
    known, rest = set(rows), list[ObservedMovement]()
    for one in seen:
        movement = one.movement
        if movement.is_ours and one.key not in known:
            continue
        changes.add_movement(movement.movement)
        if movement.observation is None:
            continue
        known.add(one.key)
        found = None
        if one.key in rows and occurrences[one.key] == 1:
            found = kind.likened(one, rows[one.key])
        if found is None:
            rest.append(movement)
        else:
            bulk.add(found[0], rows[one.key], found[1])
    rest += [one.seen.movement for one in await bulk.save(connection, changes)]
    await _one_by_one(connection, changes, kind, rest)


async def _one_by_one(
    connection: Connection,
    changes: UnitOfWork,
    kind: Observations,
    observed: Sequence[ObservedMovement],
) -> None:
    entries = await lock(connection, {str(one.key) for one in observed})
    for place, one in enumerate(observed):
        key = str(one.key)
        before = entries.get(key)
        entry = before or first_row(one.key, kind.brand.customer_id, changes.now)
        entries[key] = changes.apply(before, kind.observed(entry, one))
        if place % _YIELD_EVERY == _YIELD_EVERY - 1:
            # Let pushes in, which share this event loop.
            await asyncio.sleep(0)
