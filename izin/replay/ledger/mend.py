"""Mend rows that are not what the history makes of them, by the transitions of every other change.

A row that is missing is restored: what İYS holds is unknown then, and queried before anything is
submitted. One that differs gets what was decided, and what is registered stays as it was observed.
Both are ruled, so that what is due follows; the permission is published where it changes. A row of
a later event stays, for the law's order decides here too.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from izin.consent.model import Status
from izin.consent.transitions import State
from izin.replay.ledger.bulk_rows import LostRowBuilder
from izin.sinks.ledger import brands
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import act, rebuild_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.column_lists import DECIDED, SHADOW
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.state_change import begin

_PAGE = 4000
_STATES = {
    "intent": State.IN_FLIGHT,
    "awaiting_result": State.AWAITING_RESULT,
    "unknown": State.UNKNOWN,
}
"""Of a row, by the state of the call that has its event."""
_CHANGED = "mend row"
_OUTBOX = statements("outbox")
_SQL = statements("rebuild")

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


async def mend(  # noqa: PLR0913  # by whose order, for which plan
    ledger: Ledger,
    topic_messages: TopicMessages,
    *,
    plan: str,
    by: str,
    now: datetime,
    report: Callable[[Mended], None],
) -> Mended:
    """Mend page by page, each in one transaction, which the history ascribes to ``plan`` (a digest)
    and ``by``; return what was done. One that was stopped goes on.

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
            known = await _brands_of(connection, shadows, now)
            page = _Page(ledger, topic_messages, known, plan=plan, by=by, now=now)
            done += await page.mend(connection, shadows)
        after = shadows[-1]["key"]
        report(done)


class _Page:
    """The changes of one transaction."""

    def __init__(  # noqa: PLR0913  # of what, by whose order, for which plan
        self,
        ledger: Ledger,
        topic_messages: TopicMessages,
        known: Mapping[int, Brand],
        *,
        plan: str,
        by: str,
        now: datetime,
    ) -> None:
        self._changes = UnitOfWork(topic_messages, now=now)
        self._bulk = LostRowBuilder(topic_messages, known, now=now, calendar=ledger.calendar)
        self._known = known
        self._calendar = ledger.calendar
        self._plan = plan
        self._by = by
        self._now = now

    async def mend(self, connection: Connection, shadows: Sequence[Shadow]) -> Mended:
        """Mend the rows of ``shadows``; return how many."""
        keys = [one["key"] for one in shadows]
        rows = await lock(connection, keys)
        items = await _open_items(connection, set(keys) - rows.keys())
        missing = [one for one in shadows if one["key"] not in rows]
        await self._restore(connection, missing, items)
        changed = sum(self._mend(rows[one["key"]], one) for one in shadows if one["key"] in rows)
        if missing:
            self._changes.add_movement(self._restoration(len(missing)))
        await self._changes.write(connection)
        await connection.execute(_SQL["mended"], {"keys": keys})
        left = len(shadows) - len(missing) - changed
        return Mended(restored=len(missing), changed=changed, left=left)

    async def _restore(
        self, connection: Connection, missing: Sequence[Shadow], items: OpenItems
    ) -> None:
        """Write the rows that are missing: most of them in bulk."""
        consents: list[bytes] = []
        messages: list[bytes] = []
        for shadow in missing:
            row = lost_row(shadow, items, self._now)
            built = self._bulk.build(shadow, row)
            if built is None:
                self._rule(None, row)
            else:
                consents.append(built[0])
                messages.append(built[1])
        if consents:
            await copy(connection, _SQL["copy-restored"], [b"".join(consents)])
            await copy(connection, _OUTBOX["copy"], [b"".join(messages)])
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")
            self._changes.add_actions(self._bulk.due_actions)

    def _mend(self, before: ConsentRow, shadow: Shadow) -> bool:
        """Change a row; return whether it is not left as it is."""
        after = mended_row(before, shadow)
        if after is not None:
            self._changes.add_movement(self._act(before, self._rule(before, after)))
        return after is not None

    def _rule(self, before: ConsentRow | None, after: ConsentRow) -> ConsentRow:
        brand = self._known.get(after.brand_code)
        ruled = ruling.rule_row(after, brand, self._now, calendar=self._calendar)
        return self._changes.apply(before, ruled)

    def _act(self, before: ConsentRow, after: ConsentRow) -> Movement:
        """Return the movement of a row that was changed: what it had, and what it has."""
        names = [name for name in DECIDED if getattr(before, name) != getattr(after, name)]
        return act(
            _CHANGED,
            after.key,
            by=self._by,
            now=self._now,
            before={name: getattr(before, name) for name in names},
            after={**{name: getattr(after, name) for name in names}, "plan": self._plan},
            customer_id=after.customer_id,
            event_id=after.desired_event_id,
            status=after.desired_status,
        )

    def _restoration(self, count: int) -> Movement:
        """Return the movement of the rows that a transaction has restored."""
        return act(
            "restore rows",
            rebuild_key("ledger"),
            by=self._by,
            now=self._now,
            before={"missing": count},
            after={"restored": count, "plan": self._plan},
        )


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
        columns[name] = apply.latest(getattr(before, name), shadow[name])
    if before.is_of(shadow["desired_event_id"], shadow["desired_status"]):
        return before.replace(**columns)
    order = (
        shadow["desired_at"],
        shadow["desired_status"] == Status.RET,
        shadow["desired_rank"],
        shadow["desired_event_id"],
    )
    if not apply.is_outranked(before, order):
        return None
    return _parked(apply.taken_over(before, **columns), shadow)


def _parked(row: ConsentRow, shadow: Shadow) -> ConsentRow:
    """Return ``row``, parked for a person where the history says so."""
    return row if shadow["parked"] is None else ruling.park(row, shadow["parked"], None)


def _access(shadow: Shadow) -> tuple[int, ...] | None:
    access = shadow["retailer_access"]
    return None if access is None else tuple(access)
