"""Mend rows that are not what the history makes of them, by the transitions of every other change.

A row that is missing is restored: what İYS holds is unknown then, and queried before anything is
submitted. One that differs gets what was decided, and what is registered stays as it was observed.
Both are ruled, so that what is due follows; the permission is published where it changes. A row of
a later event stays, for the law's order decides here too.

Missing rows that are alike are restored in bulk (``ledger.bulk``).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.consent.fold import latest
from izin.consent.model import Status, order_of
from izin.consent.transitions import State
from izin.sinks.ledger import brands
from izin.sinks.ledger.bulk.saving import BulkChanges, RowChange
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import act, rebuild_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import DECIDED, SHADOW
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.ruling import RuledRow
from izin.sinks.record.state_change import begin

_PAGE = 4000
_YIELD_EVERY = 50
_SQL = statements("rebuild")
_STATES = {
    "intent": State.IN_FLIGHT,
    "awaiting_result": State.AWAITING_RESULT,
    "unknown": State.UNKNOWN,
}
"""Of a row, by the state of the call that has its event."""

Shadow = Mapping[str, Any]
"""A row of ``shadow_consents``."""
OpenItems = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was submitted and is unanswered, by key."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """Mends the rows that a rebuild found, by a person's order."""

    ledger: Ledger
    topic_messages: TopicMessages
    plan: str
    """The digest of the plan."""
    by: str
    now: datetime
    report: Callable[[Mended], None]

    async def run(self) -> Mended:
        """Mend page by page, each in one transaction with the acts of whoever ordered it; return
        what was done. One that was stopped goes on.

        Raises:
            ConcurrentChangeError: another process changes the same rows.
            FencedError: another process has taken over.
        """
        done, place = Mended(), {"after": "", "size": _PAGE}
        while True:
            async with self.ledger.transaction() as connection:
                shadows = await (await connection.execute(_SQL["to-mend"], place)).fetchall()
                if not shadows:
                    return done
                done += await self._mend_page(connection, shadows)
            place["after"] = shadows[-1]["key"]
            self.report(done)

    async def _mend_page(self, connection: Connection, shadows: Sequence[Shadow]) -> Mended:
        """Mend the rows of ``shadows``; return how many."""
        changes = UnitOfWork(self.topic_messages, now=self.now)
        known = await self._brands(connection, {one["brand_code"] for one in shadows})
        keys = [one["key"] for one in shadows]
        rows = await lock(connection, keys)
        missing = [one for one in shadows if one["key"] not in rows]
        await self._restore(connection, changes, known, missing)
        changed = 0
        for one in shadows:
            before = rows.get(one["key"])
            after = None if before is None else mended_row(before, one)
            if before is not None and after is not None:
                changed += 1
                ruled = changes.apply(before, self._ruled(after, known))
                changes.add_movement(self._changed(before, ruled))
        await changes.write(connection)
        await connection.execute(_SQL["mended"], {"keys": keys})
        left = len(shadows) - len(missing) - changed
        return Mended(restored=len(missing), changed=changed, left=left)

    async def _brands(self, connection: Connection, codes: set[int]) -> Mapping[int, Brand]:
        known = await brands.of_codes(connection, codes)
        if codes - known.keys():
            await brands.note_unknown(connection, codes - known.keys(), now=self.now)
        return known

    async def _restore(
        self,
        connection: Connection,
        changes: UnitOfWork,
        known: Mapping[int, Brand],
        missing: Sequence[Shadow],
    ) -> None:
        """Restore missing rows: those that are alike in bulk, the others one by one."""
        if not missing:
            return
        items: dict[str, list[Mapping[str, Any]]] = {}
        keys = {"keys": [one["key"] for one in missing]}
        for item in await (await connection.execute(_SQL["open-items"], keys)).fetchall():
            items.setdefault(item["key"], []).append(item)
        bulk = BulkChanges[ConsentRow](changes, lambda change: self._ruled(change.after, known))
        for place, one in enumerate(missing):
            row = lost_row(one, items, self.now)
            brand = known.get(row.brand_code)
            after = ruling.termed(row, brand, self.now, calendar=self.ledger.calendar)
            bulk.add(RowChange(None, after, row))
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        for row in await bulk.save(connection):
            changes.apply(None, self._ruled(row, known))
        restored = act(
            "restore rows",
            rebuild_key("ledger"),
            by=self.by,
            now=self.now,
            before={"missing": len(missing)},
            after={"restored": len(missing), "plan": self.plan},
        )
        changes.add_movement(restored)

    def _ruled(self, row: ConsentRow, known: Mapping[int, Brand]) -> RuledRow:
        brand = known.get(row.brand_code)
        return ruling.rule_row(row, brand, self.now, calendar=self.ledger.calendar)

    def _changed(self, before: ConsentRow, after: ConsentRow) -> Movement:
        """Return the movement of a row that was changed: what it had, and what it has."""
        names = [name for name in DECIDED if getattr(before, name) != getattr(after, name)]
        return act(
            "mend row",
            after.key,
            by=self.by,
            now=self.now,
            before={name: getattr(before, name) for name in names},
            after={**{name: getattr(after, name) for name in names}, "plan": self.plan},
            customer_id=after.customer_id,
            event_id=after.desired_event_id,
            status=after.desired_status,
        )


def lost_row(shadow: Shadow, items: OpenItems, now: datetime) -> ConsentRow:
    """Return the row of a key that is missing, before it is ruled.

    What was submitted and is unanswered stays so: nothing is submitted a second time because the
    row was lost.
    """
    row = begin(
        ConsentRow(
            **{name: shadow[name] for name in SHADOW if name != "retailer_access"},
            retailer_access=_access(shadow),
            state=State.NOT_NEEDED,
            updated_at=now,
        )
    )
    row = apply.unregistered(row)
    for item in items.get(row.key, ()):
        is_ret = item["status"] == Status.RET
        row = row.replace(ret_open=True) if is_ret else row.replace(onay_open=True)
        if row.is_of(item["event_id"], item["status"]):
            row = row.replace(state=_STATES[item["state"]])
    return _parked(row, shadow)


def mended_row(before: ConsentRow, shadow: Shadow) -> ConsentRow | None:
    """Return ``before`` with what was decided, before it is ruled; None: it has a later event, or
    nothing is to be changed.
    """
    columns = {name: shadow[name] for name in DECIDED} | {"retailer_access": _access(shadow)}
    for name in ("latest_onay_at", "latest_ret_at"):
        columns[name] = latest(getattr(before, name), shadow[name])
    if before.is_of(shadow["desired_event_id"], shadow["desired_status"]):
        return before.replace(**columns)
    desired = (shadow[f"desired_{name}"] for name in ("at", "status", "rank", "event_id"))
    order = order_of(*desired)
    if not apply.is_outranked(before, order):
        return None
    return _parked(apply.taken_over(before, **columns), shadow)


def _parked(row: ConsentRow, shadow: Shadow) -> ConsentRow:
    """Return ``row``, parked for a person where the history says so."""
    return row if shadow["parked"] is None else ruling.park(row, shadow["parked"], None)


def _access(shadow: Shadow) -> tuple[int, ...] | None:
    access = shadow["retailer_access"]
    return None if access is None else tuple(access)
