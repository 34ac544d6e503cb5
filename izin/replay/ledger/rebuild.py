"""Rebuild the rows of the ledger: plan it, and execute the plan.

Planning folds the history into the shadow and compares, by digest and key by key; it changes no row
and may run beside the workers. Execution repairs what differs, once no other process of the sinks
runs and nothing that the plan relies on has moved. Neither calls İYS.

Rows are repaired by the transitions of every other change. One that is missing is restored: what
İYS holds is unknown then, and queried before anything is submitted. One that differs gets what was
decided, and what is registered stays as it was observed. Both are ruled, so that what is due
follows; the permission is published where it changes. A row of a later event stays, for the law's
order decides here too. Missing rows that are alike are restored in bulk (``ledger.bulk``).
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from izin.consent import (
    Channel,
    ConsentKey,
    OurError,
    RecipientType,
    State,
    Status,
    latest,
    order_of,
)
from izin.ledger import brands
from izin.ledger.bulk.saving import BulkChanges, RowChange
from izin.ledger.db import Connection, Ledger, exclusive, living, statements, take
from izin.ledger.history import HistoryEntry, act, by_key, rebuild_key
from izin.ledger.record import (
    DECIDED,
    SHADOW,
    TERMS,
    Brand,
    ConsentRow,
    RuledRow,
    TopicMessages,
    apply,
    begin,
    first_row,
    ruling,
)
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.replay.ledger.shadow import ENTRIES_A_SLICE, fill, filled, selected
from izin.runtime.plan import (
    REBUILD,
    OnProgress,
    Plan,
    PlanMovedError,
    Selection,
    silent,
    work_folder,
)
from izin.runtime.process import cancel_all, with_pauses
from izin.runtime.settings import LedgerSettings

TARGET = "ledger"
REPAIRED = frozenset({"missing", "differing", "terms"})
"""The kinds of differences that a switch repairs; the others are for a person."""
LISTED = 200
"""So many keys that differ are listed."""
_PAGE = 4000
"""Rows that are repaired in one transaction."""
_AT_ONCE = 2
"""So many pages are repaired at a time: while PostgreSQL saves one, the next is made."""
_A_DAY = timedelta(days=1)
"""By how much the clocks of the processes that write the history may differ."""
_SQL = statements("rebuild")
_STATES = {
    "intent": State.IN_FLIGHT,
    "awaiting_result": State.AWAITING_RESULT,
    "unknown": State.UNKNOWN,
}
"""Of a row, by the state of the call that has its event."""
_NOBODY = ConsentKey(
    brand_code=0, channel=Channel.MESAJ, recipient_type=RecipientType.BIREYSEL, recipient=""
)
_LOST = apply.unregistered(begin(first_row(_NOBODY, "", datetime.min.replace(tzinfo=UTC))))
"""What is not in the shadow of any row that is missing."""

Shadow = Mapping[str, Any]
"""A row of ``shadow_consents``."""
Repaired = Counter[str]
"""How many rows were ``restored``, for they were missing, how many ``changed``, and how many
``left``, for they have a later event meanwhile."""
OpenItems = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was submitted and is unanswered, by key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerComparison:
    """What the history makes of the ledger, beside what stands."""

    shadow: str
    """Digest of what follows from the history."""
    current: str
    """Digest of the rows that stand."""
    shadow_keys: int
    current_keys: int
    differences: Mapping[str, int]
    """How many keys differ, by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingRow:
    """A key whose row is not what the history makes of it."""

    key: str
    kind: str
    fields: Mapping[str, tuple[object, object]]
    """The columns that differ: as they stand, and as they follow from the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRebuild:
    """Plans and executes rebuilds of one ledger."""

    ledger: Ledger
    settings: LedgerSettings
    clock: Callable[[], datetime]
    workers: int
    on_fill: OnProgress = silent
    """Gets how many slices of the keys of how many are folded."""
    on_repair: Callable[[Repaired], None] = lambda _: None

    async def plan(self, path: Path, selection: Selection, *, by: str) -> LedgerComparison:
        """Fold the history, compare, and write the plan of what a switch would repair to ``path``.

        One that was stopped goes on where it was, with the history up to the same places.

        Raises:
            OurError: another rebuild runs, or a process ended before it was done.
        """
        draft = work_folder(path) / "draft"
        async with self._alone():
            begun = await self._begun(draft, selection, by)
            compared = await self._compared(begun)
            replace(begun, options={**begun.options, **asdict(compared)}).write(path)
            draft.unlink()
        return compared

    async def check(self, plan: Plan) -> None:
        """Refuse a plan that cannot be executed now.

        Raises:
            OurError: processes of the sinks run.
            PlanMovedError: something that the plan relies on has changed.
        """
        (row,) = await self.ledger.fetch(_SQL["is-alone"], {"owner": self.ledger.owner})
        if not row["is_alone"]:
            raise OurError(
                f"{row['others']} other processes of the sinks run; stop them, then give the "
                "command again"
            )
        now = await self._now(plan.selection, plan.by)
        plan.check(now)
        before, after = plan.options["ingested"], now.options["ingested"]
        moved = [
            f"{place} was read up to {after.get(place, 0)}, not {before.get(place, 0)}"
            for place in sorted({*before, *after})
            if before.get(place) != after.get(place)
        ]
        if moved:
            raise PlanMovedError(moved)

    async def execute(self, plan: Plan, topic_messages: TopicMessages, *, by: str) -> Repaired:
        """Repair what the plan found; return what was done. One that was stopped goes on.

        Raises:
            OurError: processes of the sinks run, or another rebuild does, or a process ended.
            PlanMovedError: something that the plan relies on has changed.
        """
        async with self._alone():
            await self.check(plan)
            await self._restore_shadow(plan)
            async with self.ledger.transaction() as connection:
                await connection.execute(_SQL["forget-erased"], {"made_at": plan.made_at})
            async with exclusive(self.ledger, "ingest") as ledger:
                done = await RowRepair(
                    ledger=ledger,
                    topic_messages=topic_messages,
                    plan=plan.digest,
                    by=by,
                    now=self.clock(),
                    report=self.on_repair,
                ).run()
            await compare(self.ledger, plan)
        return done

    async def left(self, plan: Plan) -> tuple[Mapping[str, int], Sequence[DifferingRow]] | None:
        """Return how many keys differ now, by kind, and the first of them; None: the list is that
        of another plan.
        """
        if not await self.is_shadow_of(plan):
            return None
        return await counts(self.ledger), await differing_rows(self.ledger)

    async def is_shadow_of(self, plan: Plan) -> bool:
        """Whether the shadow, and so the list of differences, is that of ``plan``."""
        slices: int = plan.options["slices"]
        return len(await filled(self.ledger, plan)) == slices

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let one rebuild run at a time, which others see."""
        async with living(self.ledger):
            if await take(self.ledger, "rebuild") is None:
                raise OurError(
                    "another rebuild of the ledger runs; wait for its end, then give the command "
                    "again"
                )
            yield

    async def _begun(self, draft: Path, selection: Selection, by: str) -> Plan:
        """Return the plan that was begun, else a new one."""
        now = await self._now(selection, by)
        with suppress(FileNotFoundError):  # none was begun
            begun = Plan.read(draft)
            relies_on = begun.selection, begun.law_version, begun.closed_days
            if relies_on == (now.selection, now.law_version, now.closed_days):
                return begun
        now.write(draft)
        return now

    async def _now(self, selection: Selection, by: str) -> Plan:
        """Return the plan of a rebuild that begins now."""
        heads = await by_key.heads(self.ledger)
        ingested = await self.ledger.fetch(_SQL["ingested"])
        nexts = {f"{one['topic']}/{one['partition']}": one["next_offset"] for one in ingested}
        slices = max(2 * self.workers, -(-sum(heads.values()) // ENTRIES_A_SLICE))
        return Plan(
            kind=REBUILD,
            target=TARGET,
            selection=selection,
            options={"rebuild": secrets.token_hex(8), "slices": slices, "ingested": nexts},
            cluster_id=ingested[0]["cluster_id"] if ingested else "",
            topics={},
            history=heads,
            closed_days=tuple(sorted(self.settings.extra_closed_days)),
            made_at=self.clock(),
            by=by,
        )

    async def _compared(self, plan: Plan) -> LedgerComparison:
        found = await self.ledger.fetch(_SQL["rebuild"])
        if found and found[0]["rebuild"] != plan.options["rebuild"]:
            async with self.ledger.session() as connection:
                await connection.execute(_SQL["empty"])
        await fill(self.ledger, self.settings, plan, workers=self.workers, report=self.on_fill)
        return await compare(self.ledger, plan)

    async def _restore_shadow(self, plan: Plan) -> None:
        """Fold the history again where the shadow is gone: the server has crashed, or another
        rebuild was planned meanwhile.
        """
        if await self.is_shadow_of(plan):
            return
        if (await self._compared(plan)).shadow != plan.options["shadow"]:
            raise PlanMovedError(["the history gives other rows"])


async def compare(ledger: Ledger, plan: Plan) -> LedgerComparison:
    """Compare every row; keys that were decided on since the heads are left out of the differences,
    and so are those that are being erased.
    """
    values = {
        "shards": list(plan.history),
        "places": list(plan.history.values()),
        **selected(plan),
        "since": plan.made_at - _A_DAY,
    }
    async with ledger.session() as connection:
        await connection.execute(_SQL["session"])
        await connection.execute(_SQL["forget-differences"])
        await connection.execute(_SQL["analyze"])
        (digests,) = await (await connection.execute(_SQL["digests"], values)).fetchall()
        await connection.execute(_SQL["compare"], values)
        await connection.execute(_SQL["analyze"])
        await connection.execute(_SQL["pass-over"], values)
    return LedgerComparison(**digests, differences=await counts(ledger))


async def counts(ledger: Ledger) -> dict[str, int]:
    """Return how many keys differ, by kind."""
    return {row["kind"]: row["keys"] for row in await ledger.fetch(_SQL["count-differences"])}


async def differing_rows(ledger: Ledger) -> list[DifferingRow]:
    """Return the first keys that differ, in order."""
    found = []
    for row in await ledger.fetch(_SQL["differences"], {"size": LISTED}):
        current, shadow = row["current"] or {}, row["shadow"] or {}
        names = (*DECIDED, *TERMS) if current and shadow else ()
        fields = {
            name: (current[name], shadow[name]) for name in names if current[name] != shadow[name]
        }
        found.append(DifferingRow(key=row["key"], kind=row["kind"], fields=fields))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRepair:
    """Repairs the rows that a rebuild found, by a person's order."""

    ledger: Ledger
    topic_messages: TopicMessages
    plan: str
    """The digest of the plan."""
    by: str
    now: datetime
    report: Callable[[Repaired], None]

    async def run(self) -> Repaired:
        """Repair page by page, each in one transaction with the acts of whoever ordered it; return
        what was done. One that was stopped goes on.

        Raises:
            ConcurrentChangeError: another process changes the same rows.
            FencedError: another process has taken over.
        """
        done = Repaired()

        def count(page: Repaired) -> None:
            done.update(page)
            self.report(done)

        lanes = [asyncio.create_task(self._repair_pages(count)) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*lanes)
        finally:
            await cancel_all(lanes)
        return done

    async def _repair_pages(self, count: Callable[[Repaired], None]) -> None:
        """Repair pages until none is left; ``count`` gets what was done of each."""
        place = {"after": "", "size": _PAGE}
        while True:
            async with self.ledger.transaction() as connection:
                shadows = await (await connection.execute(_SQL["to-repair"], place)).fetchall()
                if not shadows:
                    return
                page = await self._repair_page(connection, shadows)
            place["after"] = shadows[-1]["key"]
            count(page)

    async def _repair_page(self, connection: Connection, shadows: Sequence[Shadow]) -> Repaired:
        """Repair the rows of ``shadows``; return how many."""
        changes = UnitOfWork(connection, self.topic_messages, self.ledger.calendar, self.now)
        known = await brands.known_of_codes(
            connection, {shadow["brand_code"] for shadow in shadows}, now=self.now
        )
        keys = [one["key"] for one in shadows]
        rows = await lock(connection, keys)
        missing = [one for one in shadows if one["key"] not in rows]
        await self._restore(connection, changes, known, missing)
        changed = 0
        for one in shadows:
            before = rows.get(one["key"])
            after = None if before is None else repaired_row(before, one)
            if before is not None and after is not None:
                changed += 1
                ruled = changes.rule(before, after, known.get(after.brand_code))
                changes.add_entry(self._changed(before, ruled))
        await changes.write()
        await connection.execute(_SQL["repaired"], {"keys": keys})
        return Repaired(
            restored=len(missing), changed=changed, left=len(shadows) - len(missing) - changed
        )

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

        def ruled(row: ConsentRow) -> RuledRow:
            return changes.ruled(row, known.get(row.brand_code))

        bulk = BulkChanges[ConsentRow](changes, lambda change: ruled(change.after))
        async for one in with_pauses(missing):
            row = lost_row(one, items, self.now)
            bulk.add(RowChange(None, changes.termed(row, known.get(row.brand_code)), row))
        for row in await bulk.save():
            changes.apply(None, ruled(row))
        restored = act(
            "restore rows",
            rebuild_key("ledger"),
            by=self.by,
            now=self.now,
            before={"missing": len(missing)},
            after={"restored": len(missing), "plan": self.plan},
        )
        changes.add_entry(restored)

    def _changed(self, before: ConsentRow, after: ConsentRow) -> HistoryEntry:
        """Return the entry of a row that was changed: what it had, and what it has."""
        names = [name for name in DECIDED if getattr(before, name) != getattr(after, name)]
        return act(
            "repair row",
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
    columns = {name: shadow[name] for name in SHADOW} | {"retailer_access": _access(shadow)}
    row = _LOST.replace(**columns, updated_at=now)
    for item in items.get(row.key, ()):
        is_ret = item["status"] == Status.RET
        row = row.replace(ret_open=True) if is_ret else row.replace(onay_open=True)
        if row.is_of(item["event_id"], item["status"]):
            row = row.replace(state=_STATES[item["state"]])
    return _parked(row, shadow)


def repaired_row(before: ConsentRow, shadow: Shadow) -> ConsentRow | None:
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
