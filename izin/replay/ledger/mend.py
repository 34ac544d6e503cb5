"""Mend rows that are not what the history makes of them, by the transitions of every other change.

A row that is missing is restored: what İYS holds is unknown then, and queried before anything is
submitted. One that differs gets what was decided, and what is registered stays as it was observed.
Both are ruled, so that what is due follows; the permission is published where it changes. A row of
a later event stays, for the law's order decides here too.

Missing rows that are alike are restored in bulk (``ledger.bulk``).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.replay.ledger.mend_acts import MendActs
from izin.replay.ledger.shadow_rows import OpenItems, Shadow, lost_row, mended_row
from izin.sinks.ledger import brands
from izin.sinks.ledger.bulk.saving import BulkChanges, RowChange
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.ruling import RuledRow

_PAGE = 4000
_YIELD_EVERY = 50
_SQL = statements("rebuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """How many rows were changed."""

    restored: int = 0
    """They were missing."""
    changed: int = 0
    left: int = 0
    """They have a later event meanwhile."""

    @property
    def rows(self) -> int:
        """How many rows were looked at."""
        return self.restored + self.changed + self.left

    def __add__(self, other: "Mended") -> "Mended":
        return Mended(
            restored=self.restored + other.restored,
            changed=self.changed + other.changed,
            left=self.left + other.left,
        )


async def mend(
    ledger: Ledger,
    topic_messages: TopicMessages,
    acts: MendActs,
    *,
    report: Callable[[Mended], None],
) -> Mended:
    """Mend page by page, each in one transaction, which the history ascribes by ``acts``; return
    what was done. One that was stopped goes on.

    Raises:
        ConcurrentChangeError: another process changes the same rows.
        FencedError: another process has taken over.
    """
    done, after = Mended(), ""
    while True:
        async with ledger.transaction() as connection:
            found = await connection.execute(_SQL["to-mend"], {"after": after, "size": _PAGE})
            shadows = await found.fetchall()
            if not shadows:
                return done
            known = await _brands_of(connection, shadows, acts.now)
            done += await _Page(connection, ledger, topic_messages, known, acts).mend(
                connection, shadows
            )
        after = shadows[-1]["key"]
        report(done)


class _Page:
    """The changes of one transaction."""

    def __init__(
        self,
        connection: Connection,
        ledger: Ledger,
        topic_messages: TopicMessages,
        known: Mapping[int, Brand],
        acts: MendActs,
    ) -> None:
        self._changes = UnitOfWork(connection, topic_messages, ledger.calendar, acts.now)
        self._known = known
        self._calendar = ledger.calendar
        self._acts = acts

    async def mend(self, connection: Connection, shadows: Sequence[Shadow]) -> Mended:
        """Mend the rows of ``shadows``; return how many."""
        keys = [one["key"] for one in shadows]
        rows = await lock(connection, keys)
        items = await _open_items(connection, set(keys) - rows.keys())
        missing = [one for one in shadows if one["key"] not in rows]
        for row in await self._restored(missing, items):
            self._rule(None, row)
        changed = sum(self._mend(rows[one["key"]], one) for one in shadows if one["key"] in rows)
        if missing:
            self._changes.add_movement(self._acts.restored(len(missing)))
        await self._changes.write()
        await connection.execute(_SQL["mended"], {"keys": keys})
        left = len(shadows) - len(missing) - changed
        return Mended(restored=len(missing), changed=changed, left=left)

    async def _restored(self, missing: Sequence[Shadow], items: OpenItems) -> list[ConsentRow]:
        """Restore missing rows in bulk; return, before they are ruled, those that are not alike."""
        now, bulk = self._acts.now, BulkChanges[ConsentRow](self._changes, self._rule_change)
        for place, one in enumerate(missing):
            row = lost_row(one, items, now)
            brand = self._known.get(row.brand_code)
            after = ruling.termed(row, brand, now, calendar=self._calendar)
            bulk.add(RowChange(None, after, row))
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        return await bulk.save()

    def _rule_change(self, change: RowChange[ConsentRow]) -> RuledRow:
        brand = self._known.get(change.after.brand_code)
        return ruling.rule_row(change.after, brand, self._acts.now, calendar=self._calendar)

    def _mend(self, before: ConsentRow, shadow: Shadow) -> bool:
        """Change a row; return whether it is not left as it is."""
        after = mended_row(before, shadow)
        if after is not None:
            self._changes.add_movement(self._acts.changed(before, self._rule(before, after)))
        return after is not None

    def _rule(self, before: ConsentRow | None, after: ConsentRow) -> ConsentRow:
        brand = self._known.get(after.brand_code)
        ruled = ruling.rule_row(after, brand, self._acts.now, calendar=self._calendar)
        return self._changes.apply(before, ruled)


async def _brands_of(
    connection: Connection, shadows: Sequence[Shadow], now: datetime
) -> Mapping[int, Brand]:
    codes = {one["brand_code"] for one in shadows}
    known = await brands.of_codes(connection, codes)
    if codes - known.keys():
        await brands.note_unknown(connection, codes - known.keys(), now=now)
    return known


async def _open_items(connection: Connection, keys: Collection[str]) -> OpenItems:
    if not keys:
        return {}
    items: dict[str, list[Mapping[str, Any]]] = {}
    found = await connection.execute(_SQL["open-items"], {"keys": sorted(keys)})
    for row in await found.fetchall():
        items.setdefault(row["key"], []).append(row)
    return items
