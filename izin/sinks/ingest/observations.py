"""Save what İYS shows of keys: one function for every path by which it comes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from izin.consent import ConsentKey, Observation
from izin.ledger.bulk.saving import BulkChanges, RowChange
from izin.ledger.history import HistoryEntry
from izin.ledger.record import Brand, ConsentRow, RuledRow, apply, first_row
from izin.ledger.unit_of_work import UnitOfWork, lock_in_pieces
from izin.runtime.process import with_pauses


class ObservedMovement(NamedTuple):
    """A movement at İYS, read."""

    key: ConsentKey
    observation: Observation | None
    """What it shows; None: it permits nothing, and is only recorded."""
    movement: HistoryEntry
    """Its record in the history."""
    is_ours: bool
    """Whether a submission of ours made it. It brings no key back that was erased since."""


async def observe(changes: UnitOfWork, brand: Brand, observed: Sequence[ObservedMovement]) -> None:
    """Save what movements of a ``brand`` show; the history and what is not alike through
    ``changes``, which the caller writes in the same transaction.
    """
    work = _Observing(changes, brand)
    for one in observed:
        work.by_key[str(one.key)].append(one)
    await work.save()


class _Observing:
    """The work of one page."""

    def __init__(self, changes: UnitOfWork, brand: Brand) -> None:
        self.by_key = defaultdict[str, list[ObservedMovement]](list)
        self._changes = changes
        self._brand = brand
        self._rest: list[ObservedMovement] = []
        """What is applied one by one."""
        self._bulk = BulkChanges[ObservedMovement](changes, lambda one: self._rule(one.after))

    async def save(self) -> None:
        rows = await lock_in_pieces(self._changes.connection, self.by_key, self._add_all)
        self._rest += await self._bulk.save()
        async for one in with_pauses(self._rest):
            key = str(one.key)
            before = rows.get(key)
            entry = before or first_row(one.key, self._brand.customer_id, self._changes.now)
            rows[key] = self._changes.apply(before, self._rule(_observed(entry, one)))

    async def _add_all(self, keys: Sequence[str], rows: Mapping[str, ConsentRow]) -> None:
        async for key in with_pauses(keys):
            self._add(self.by_key[key], rows.get(key))

    def _add(self, movements: Sequence[ObservedMovement], before: ConsentRow | None) -> None:
        """Record the movements of a key, and add what they make of its row."""
        is_known, shown = before is not None, list[ObservedMovement]()
        for one in movements:
            if one.is_ours and not is_known:
                continue
            self._changes.add_entry(one.movement)
            if one.observation is not None:
                is_known = True
                shown.append(one)
        if before is None or len(shown) > 1:
            self._rest += shown
        elif shown:
            after = self._changes.termed(_observed(before, shown[0]), self._brand)
            self._bulk.add(RowChange(before, after, shown[0]))

    def _rule(self, after: ConsentRow) -> RuledRow:
        return self._changes.ruled(after, self._brand, observing=True)


def _observed(row: ConsentRow, movement: ObservedMovement) -> ConsentRow:
    seen = movement.observation
    return row if seen is None else apply.observed(row, seen)
