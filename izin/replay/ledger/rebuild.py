"""Rebuild the rows of the ledger: plan it, and execute the plan.

Planning folds the history into the shadow and compares; it changes no row and may run beside the
workers. Execution mends what differs, once no other process of the sinks runs and nothing that the
plan relies on has moved. Neither calls İYS.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from izin.replay.errors import LiveGroupError, UnfitSelectionError
from izin.replay.ledger import slices
from izin.replay.ledger.compare import LedgerComparison, compare
from izin.replay.ledger.mend import Mended, mend
from izin.replay.ledger.mend_acts import MendActs
from izin.replay.ledger.slices import MOVEMENTS_A_SLICE, ShadowProgress, ShadowWork
from izin.runtime.plan import Plan, PlanMovedError, Selection, work_folder
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import sole, take
from izin.sinks.ledger.db.processes import living
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.messages import TopicMessages

KIND, TARGET = "rebuild", "ledger"
_SQL = statements("rebuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRebuild:
    """Plans and executes rebuilds of one ledger."""

    ledger: Ledger
    settings: LedgerSettings
    clock: Callable[[], datetime]
    workers: int
    on_fill: Callable[[ShadowProgress], None] = lambda _: None
    on_mend: Callable[[Mended], None] = lambda _: None

    async def plan(self, path: Path, selection: Selection, *, by: str) -> LedgerComparison:
        """Fold the history, compare, and write the plan of what a switch would mend to ``path``.

        One that was stopped goes on where it was, with the history up to the same places.

        Raises:
            UnfitSelectionError: it cannot be decided by a key alone.
            LiveGroupError: another rebuild runs.
            ProcessEndedError: a process ended before it was done.
        """
        if not selection.names_keys:
            raise UnfitSelectionError(f"the {TARGET}", "some recipients, keys or brands")
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
            LiveGroupError: processes of the sinks run.
            PlanMovedError: something that the plan relies on has changed.
        """
        (row,) = await self.ledger.fetch(_SQL["is-alone"], {"owner": self.ledger.owner})
        if not row["is_alone"]:
            raise LiveGroupError("other processes of the sinks", row["others"], "stop them")
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

    async def execute(self, plan: Plan, topic_messages: TopicMessages, *, by: str) -> Mended:
        """Mend what the plan found; return what was done. One that was stopped goes on.

        Raises:
            LiveGroupError: processes of the sinks run, or another rebuild does.
            PlanMovedError: something that the plan relies on has changed.
            ProcessEndedError: a process ended before it was done.
        """
        async with self._alone():
            await self.check(plan)
            await self._restore_shadow(plan)
            async with self.ledger.transaction() as connection:
                await connection.execute(_SQL["forget-erased"], {"made_at": plan.made_at})
            async with sole(self.ledger, "ingest") as ledger:
                acts = MendActs(plan=plan.digest, by=by, now=self.clock())
                done = await mend(ledger, topic_messages, acts, report=self.on_mend)
            await compare(self.ledger, ShadowWork.of(plan))
        return done

    async def is_shadow_of(self, plan: Plan) -> bool:
        """Whether the shadow, and so the list of differences, is that of ``plan``."""
        found = await slices.progress(self.ledger, ShadowWork.of(plan))
        return found.slices == found.of

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let one rebuild run at a time, which others see."""
        async with living(self.ledger):
            if await take(self.ledger, "rebuild") is None:
                raise LiveGroupError("other rebuild of the ledger", 1, "wait for its end")
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
        heads = {row["shard"]: row["place"] for row in await self.ledger.fetch(_SQL["heads"])}
        (size,) = await self.ledger.fetch(_SQL["size"])
        ingested = await self.ledger.fetch(_SQL["ingested"])
        nexts = {f"{one['topic']}/{one['partition']}": one["next_offset"] for one in ingested}
        parts = max(2 * self.workers, -(-size["movements"] // MOVEMENTS_A_SLICE))
        return Plan(
            kind=KIND,
            target=TARGET,
            selection=selection,
            options={"rebuild": secrets.token_hex(8), "slices": parts, "ingested": nexts},
            cluster_id=ingested[0]["cluster_id"] if ingested else "",
            topics={},
            history=heads,
            closed_days=tuple(sorted(self.settings.extra_closed_days)),
            made_at=self.clock(),
            by=by,
        )

    async def _compared(self, plan: Plan) -> LedgerComparison:
        work = ShadowWork.of(plan)
        found = await self.ledger.fetch(_SQL["rebuild"])
        if found and found[0]["rebuild"] != work.rebuild:
            async with self.ledger.session() as connection:
                await connection.execute(_SQL["empty"])
        await slices.fill(
            self.ledger, self.settings, work, workers=self.workers, report=self.on_fill
        )
        return await compare(self.ledger, work)

    async def _restore_shadow(self, plan: Plan) -> None:
        """Fold the history again where the shadow is gone: the server has crashed, or another
        rebuild was planned meanwhile.
        """
        if await self.is_shadow_of(plan):
            return
        compared = await self._compared(plan)
        if compared.shadow != plan.options["shadow"]:
            raise PlanMovedError(["the history gives other rows"])
