"""Fill the shadow from the history: part by part of the keys, in processes of their own.

A part is a range of the digests of keys, so every movement of a key is in one part, whichever chain
has it. It is read by one COPY in the order of keys and written by another, in one transaction with
its entry in ``shadow_slices``: after a kill the parts that are done stay done.
"""

import asyncio
import multiprocessing
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import SpawnProcess
from typing import Self

from izin.replay.ledger.fold import ErasedState, HistoryFold, StoredMovement
from izin.replay.plan import Plan
from izin.replay.processes import check_processes, ignore_interrupts
from izin.runtime.process import tune_gc_for_batches
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import brands
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements

MOVEMENTS_A_SLICE = 250_000
"""About so many movements are sorted at a time."""
_CHUNK = 400
_LOOK_EVERY = 0.5
_DIGESTS = 1 << 64
_FIRST_DIGEST = -(1 << 63)
_TYPES = (
    *("text", "text", "text", "timestamptz", "bytea"),
    *("text", "text", "timestamptz", "text"),
)
"""Of the columns of ``copy-out``."""
_SQL = statements("rebuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowWork:
    """What is folded into the shadow; the same for every process."""

    rebuild: str
    """Its name, random."""
    heads: Mapping[int, int]
    """By shard: up to which place the history is read."""
    now: datetime
    slices: int
    selected: Mapping[str, list[str] | None]
    """The keys, recipients and brands that are selected; None: any."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return what ``plan`` folds into the shadow."""
        selection = plan.selection
        return cls(
            rebuild=plan.options["rebuild"],
            heads=dict(plan.history),
            now=plan.made_at,
            slices=plan.options["slices"],
            selected={
                "keys": sorted(selection.keys) or None,
                "recipients": sorted(selection.recipients) or None,
                "brands": sorted(map(str, selection.brands)) or None,
            },
        )

    @property
    def values(self) -> dict[str, object]:
        """The values of statements that read what is selected, up to the heads."""
        places = {"shards": list(self.heads), "places": list(self.heads.values())}
        return {**places, **self.selected}

    def bounds(self, number: int) -> dict[str, int]:
        """Return the first and the last digest of a key of a part."""
        first, behind = (_DIGESTS * one // self.slices for one in (number, number + 1))
        return {"first": _FIRST_DIGEST + first, "last": _FIRST_DIGEST + behind - 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowProgress:
    """How far the shadow is filled."""

    slices: int
    of: int
    movements: int
    keys: int


async def progress(ledger: Ledger, work: ShadowWork) -> ShadowProgress:
    """Return how far the shadow is filled."""
    rows = await ledger.fetch(_SQL["slices"], {"rebuild": work.rebuild})
    return ShadowProgress(
        slices=len(rows),
        of=work.slices,
        movements=sum(row["movements"] for row in rows),
        keys=sum(row["keys"] for row in rows),
    )


async def fill(
    ledger: Ledger,
    settings: LedgerSettings,
    work: ShadowWork,
    *,
    workers: int,
    report: Callable[[ShadowProgress], None],
) -> ShadowProgress:
    """Fold the parts that are not done yet, in so many processes; return what the shadow has. One
    is this process.

    Raises:
        ProcessEndedError: a process ended before it was done; the parts that are done stay.
    """
    done = {row["slice"] for row in await ledger.fetch(_SQL["slices"], {"rebuild": work.rebuild})}
    left = [number for number in range(work.slices) if number not in done]
    if workers == 1:
        await _fold_all(settings, work, left)
        return await progress(ledger, work)
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    try:
        for one in range(min(workers, len(left))):
            arguments = (settings, work, left[one::workers])
            process = context.Process(target=_run, args=arguments, daemon=True)
            process.start()
            processes.append(process)
        await _wait(ledger, work, processes, report)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return await progress(ledger, work)


async def _wait(
    ledger: Ledger,
    work: ShadowWork,
    processes: Sequence[SpawnProcess],
    report: Callable[[ShadowProgress], None],
) -> None:
    while any(one.is_alive() for one in processes):
        await asyncio.sleep(_LOOK_EVERY)
        report(await progress(ledger, work))
        check_processes(processes)
    check_processes(processes)


def _run(settings: LedgerSettings, work: ShadowWork, numbers: Sequence[int]) -> None:
    """Fold parts, in a process of its own."""
    ignore_interrupts()
    asyncio.run(_fold_all(settings, work, numbers))


async def _fold_all(settings: LedgerSettings, work: ShadowWork, numbers: Sequence[int]) -> None:
    async with (
        Ledger(settings, owner=1) as ledger,
        ledger.session() as reading,
        ledger.session() as writing,
    ):
        known = {one.brand_code: one for one in await brands.every(ledger)}
        erased = {
            row.pop("key"): ErasedState(**row) for row in await ledger.fetch(_SQL["erasures"])
        }
        fold = HistoryFold(known, erased, now=work.now, calendar=ledger.calendar)
        await reading.execute(_SQL["session"])
        tune_gc_for_batches()
        parent = multiprocessing.parent_process()
        for number in numbers:
            if parent is not None and not parent.is_alive():
                return  # another process goes on, perhaps with another rebuild
            await fold_slice(reading, writing, fold, work, number)


async def fold_slice(
    reading: Connection, writing: Connection, fold: HistoryFold, work: ShadowWork, number: int
) -> None:
    """Fold one part, unless it is done."""
    part = {"rebuild": work.rebuild, "slice": number}
    async with writing.transaction():
        if await (await writing.execute(_SQL["begin-slice"], part)).fetchone() is None:
            return
        counts = {"movements": 0, "keys": 0}
        async with (
            writing.cursor() as cursor,
            cursor.copy(_SQL["copy-in"]) as shadow,
        ):
            await shadow.write(copy_format.SIGNATURE)
            rows: list[bytes] = []
            async with aclosing(_keys(reading, work, number)) as keys:
                async for movements in keys:
                    counts["movements"] += len(movements)
                    row = fold.row(movements)
                    if row is not None:
                        rows.append(row)
                    if len(rows) == _CHUNK:
                        counts["keys"] += len(rows)
                        await shadow.write(b"".join(rows))
                        rows.clear()
                        await asyncio.sleep(0)  # for the heartbeat, where it is in this process
            counts["keys"] += len(rows)
            await shadow.write(b"".join(rows) + copy_format.END)
        await writing.execute(_SQL["end-slice"], {**part, **counts})


async def _keys(
    reading: Connection, work: ShadowWork, number: int
) -> AsyncGenerator[Sequence[StoredMovement], None]:
    """Yield the movements of each key of a part."""
    values = {**work.values, **work.bounds(number)}
    async with reading.cursor() as cursor, cursor.copy(_SQL["copy-out"], values) as found:
        found.set_types(_TYPES)
        group: list[StoredMovement] = []
        async for row in found.rows():
            one = StoredMovement._make(row)
            if group and group[0].key != one.key:
                yield group
                group = []
            group.append(one)
        if group:
            yield group
