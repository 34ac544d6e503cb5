"""The benchmark ``rebuild``: the order state, folded again from its events and compared.

A worker decides all events first, so that what stands was made by the product. Then the state is
rebuilt and compared with it. Nothing else runs meanwhile, so that nothing could call İYS or deliver
anything; that no topic has grown shows that nothing was written either.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.replay.events import events as replay_events, publish
from benchmarks.results import RunReport
from benchmarks.worker.drain import DrainProgress
from benchmarks.worker.installation import BrokerOption, PartitionsOption, measuring
from benchmarks.worker.order_worker import order_worker
from izin.kafka import clients
from izin.replay.order_state.planning import Installation
from izin.replay.order_state.repair import StateRebuild, results_of
from izin.runtime.errors import BrokerError
from izin.runtime.plan import Selection
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.codec import Codec

_WAIT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildRun:
    """What a rebuild took and gave."""

    events: int
    keys: int
    workers: int
    seconds: float
    """Of all of it: planning, both lanes, the rows that stand, both digests."""
    per_worker: float
    """Events a second that a worker has folded."""
    different: int
    """Partitions whose digests differ."""
    written: int
    """Records that any topic has more than before."""


def rebuild(  # noqa: PLR0913, PLR0917  # an option is an argument
    events: Annotated[int, typer.Option(min=1000, help="Events to decide again.")] = 5_000_000,
    keys: Annotated[int, typer.Option(min=100, help="Recipients.")] = 1_000_000,
    partitions: PartitionsOption = 8,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core.")] = None,
    limit: Annotated[int, typer.Option(min=5, help="Seconds to decide all events.")] = 1200,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure how fast the order state is rebuilt, and check that its digest is identical."""
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        show("publishing")
        refused = publish(settings, replay_events(events, keys))
        decide(settings, folder, timedelta(seconds=limit), show)
        show("rebuilding")
        found = measure(settings, folder, workers or multiprocessing.cpu_count())
    return RunReport(
        tables=[_table(found)],
        data=asdict(found),
        figures=figures(found),
        failures=[
            *([f"{refused} events were not appended"] if refused else []),
            *([f"{found.different} digests differ"] if found.different else []),
            *([f"{found.written} records were written"] if found.written else []),
            *([f"{found.keys} keys, not {keys}"] if found.keys != keys else []),
        ],
    )


def figures(found: RebuildRun) -> Mapping[str, float]:
    """Return the speed of a worker."""
    return {"replay": found.per_worker}


def decide(
    settings: KafkaSettings, folder: Path, limit: timedelta, on_progress: Callable[[str], None]
) -> None:
    """Have a worker decide both lanes; raises TimeoutError."""
    worker = order_worker(settings, folder)
    watched = [
        DrainProgress(settings, lane.name)
        for lane in (settings.topics.express, settings.topics.events)
    ]
    until = time.monotonic() + limit.total_seconds()
    try:
        worker.start()
        share = 0.0
        while share < 1:
            time.sleep(_WAIT)  # the worker is another process: nothing here wakes us
            with suppress(BrokerError):
                share = min(one.share for one in watched)
            on_progress(f"deciding: {share:.0%}")
            if time.monotonic() > until:
                raise TimeoutError(f"{share:.0%} was decided in {limit}")
    finally:
        worker.kill()
        for one in watched:
            one.close()


def measure(settings: KafkaSettings, folder: Path, workers: int) -> RebuildRun:
    """Return what a rebuild takes and gives."""
    reads = Installation(kafka=settings, streams=StreamSettings(app_id="bench"), codec=Codec())
    path, before = folder / "plan.json", _ends(settings)
    began = time.monotonic()
    plan = StateRebuild(installation=reads, workers=workers).plan(path, Selection(), by="bench")
    seconds = time.monotonic() - began
    results, _ = results_of(plan, path)
    after = _ends(settings)
    events = sum(one.events for one in results)
    return RebuildRun(
        events=events,
        keys=sum(one.keys for one in results),
        workers=workers,
        seconds=seconds,
        per_worker=events / sum(one.seconds for one in results),
        different=sum(one.computed != one.current for one in results),
        written=sum(after.values()) - sum(before.values()),
    )


def _ends(settings: KafkaSettings) -> Mapping[str, int]:
    return {
        topic.name: sum(clients.committed_ends(settings, topic.name).values())
        for topic in settings.topics
    }


def _table(found: RebuildRun) -> Table:
    table = Table(title=f"The order state of {found.keys:,} keys, rebuilt and compared")
    for heading in ("events", "workers", "seconds", "events/s a worker", "digests", "written"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{found.events:,}",
        str(found.workers),
        f"{found.seconds:.1f}",
        f"{found.per_worker:,.0f}",
        f"{found.different} differ" if found.different else "identical",
        str(found.written),
    )
    return table
