"""``python -m izin.bench replay``: the same events again, into empty topics and over what stands.

A first run decides the events, a second one decides them again into topics made anew, and a third
one, under a group that has committed nothing, over the state of the second. All must end with the
same last row of every key. The bar is 35,000 events a second and worker.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cpu_timing import machine
from benchmarks.order.dataset import Course, Shape
from benchmarks.order.trials import publish
from benchmarks.order.verify_output import outcome, read_back
from benchmarks.results import keep
from benchmarks.worker.drain import drained
from benchmarks.worker.installation import empty, installation
from izin.runtime import kafka
from izin.schemas.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.order.timer import Run
    from benchmarks.order.verify_output import Outcome
    from izin.runtime.settings import KafkaSettings

FIRST, AGAIN, OVER = "the first run", "into empty topics", "over what stands"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over the events: how fast, and which rows stand in ``consents`` after it."""

    name: str
    run: Run
    outcome: Outcome


def replay(  # noqa: PLR0913, PLR0917 - an option is an argument
    events: Annotated[int, typer.Option(min=1000, help="Events of the course.")] = 5_000_000,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients, by Zipf's law.")] = 200_000,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
    limit: Annotated[int, typer.Option(min=5, help="Seconds a pass may take.")] = 1200,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A broker to use instead of one of our own.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/replay.json"
    ),
) -> None:
    """Measure how fast events are decided again, and that the same comes of them."""
    console, where = Console(), machine()
    shape = Shape(events=events, recipients=recipients, partitions=partitions)
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        console.status("starting") as told,
        installation(Path(folder), partitions=partitions, given=bootstrap_servers) as settings,
    ):
        found = replays(
            settings, shape, Path(folder), limit=timedelta(seconds=limit), progress=told.update
        )
    console.print(_table(found, f"The same {events:,} events again\n{where}"))
    same = len({one.outcome.digest for one in found}) == 1
    console.print("one state, byte for byte" if same else "[red]the states differ[/]")
    keep(
        results,
        console,
        {
            "machine": where,
            "events": events,
            "recipients": recipients,
            "partitions": partitions,
            "same": same,
            "passes": [asdict(one) for one in found],
        },
    )
    if not same:
        raise typer.Exit(1)


def replays(
    settings: KafkaSettings,
    shape: Shape,
    folder: Path,
    *,
    limit: timedelta,
    progress: Callable[[str], None] = lambda _: None,
) -> Sequence[Pass]:
    """Return the three passes over the course of ``shape``; raises LapError."""
    progress("publishing")
    publish(Course(shape, Codec()), settings)
    passes = []
    for name in (FIRST, AGAIN, OVER):
        progress(name)
        if name == AGAIN:
            empty(settings)
        app = name.replace(" ", "-")
        run = drained(settings, folder, events=shape.events, app=app, limit=limit)
        progress(f"{name}: reading back")
        passes.append(Pass(name=name, run=run, outcome=_outcome(settings)))
    return passes


def _outcome(settings: KafkaSettings) -> Outcome:
    consents = settings.topics.consents.name
    ends = kafka.committed_ends(settings, consents)
    return outcome(read_back(settings, consents, ends))


def _table(found: Sequence[Pass], title: str) -> Table:
    table = Table(title=title)
    table.add_column("pass")
    for heading in ("events/s", "CPU µs/event", "peak MB", "rows", "digest"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(
            one.name,
            f"{one.run.events_per_second:,.0f}",
            f"{one.run.cpu_us:.1f}",
            f"{one.run.peak_mb:,.0f}",
            f"{one.outcome.rows:,}",
            one.outcome.digest[:12],
        )
    return table
