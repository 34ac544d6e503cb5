"""``python -m izin.bench latency``: from a publisher's call until subscribers can read the "no".

With nothing else to do, on either lane; and on the express lane while the same worker drains a
backlog of the other. The bars: idle p50 30 ms and p99 100 ms; under the backlog p99 300 ms.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cpu_timing import machine
from benchmarks.order.dataset import Course, Shape
from benchmarks.order.trials import publish
from benchmarks.results import keep
from benchmarks.worker.drain import Drain
from benchmarks.worker.installation import installation
from benchmarks.worker.order_worker import group_of, order_worker
from benchmarks.worker.probe import Latency, Probe
from izin.schemas.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from izin.runtime.settings import KafkaSettings

_EVERY = 0.025
"""Seconds between probes: some forty a second, a trickle."""
_LEAST = 20
_LOOK_EACH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All latencies of a run, and for how many probes the backlog lasted."""

    latencies: Sequence[Latency]
    while_draining: int


def latency(  # noqa: PLR0913, PLR0917 - an option is an argument
    probes: Annotated[int, typer.Option(min=_LEAST, help="Idle probes, on each lane.")] = 1000,
    events: Annotated[
        int, typer.Option(min=1000, help="Events of the backlog on the bulk lane.")
    ] = 1_000_000,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients of the backlog.")] = 200_000,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A broker to use instead of one of our own.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/latency.json"
    ),
) -> None:
    """Measure how soon a "no" can be read by subscribers, idle and under a backlog."""
    console, where = Console(), machine()
    shape = Shape(events=events, recipients=recipients, partitions=partitions)
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        console.status("starting") as told,
        installation(Path(folder), partitions=partitions, given=bootstrap_servers) as settings,
    ):
        found = latencies(settings, shape, Path(folder), probes=probes, progress=told.update)
    title = f"Published until readable, {probes:,} probes a lane, {events:,} events behind\n{where}"
    console.print(_table(found.latencies, title))
    console.print(f"the backlog lasted for {found.while_draining:,} probes", highlight=False)
    keep(
        results,
        console,
        {
            "machine": where,
            "events": events,
            "partitions": partitions,
            "unit": "ms",
            "while_draining": found.while_draining,
            "latencies": [asdict(one) for one in found.latencies],
        },
    )


def latencies(
    settings: KafkaSettings,
    shape: Shape,
    folder: Path,
    *,
    probes: int,
    progress: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Return how long probes take over the topics of ``settings``; the worker ends with it."""
    codec, random = Codec(), Random(shape.seed)
    bulk, express = settings.topics.events.name, settings.topics.express.name
    worker = order_worker(settings, folder)
    found: list[Latency] = []

    def note(name: str, taken: dict[str, list[float]]) -> None:
        for topic, seconds in taken.items():
            output = topic.removeprefix(settings.topic_prefix)
            found.append(Latency.of(f"{output}, {name}", seconds))

    try:
        worker.start()
        worker.wait_ready()
        with Probe(settings, codec) as probe:
            for name, lane in (("idle, bulk lane", bulk), ("idle, express lane", express)):
                progress(name)
                probe.run(lane, every=_EVERY, random=random, going_on=lambda sent: sent < _LEAST)
                taken = probe.run(
                    lane, every=_EVERY, random=random, going_on=lambda sent: sent < probes
                )
                note(name, taken)
            worker.kill()
            progress("publishing the backlog")
            publish(Course(shape, codec), settings)
            drain = Drain(settings, bulk, group_of(settings))
            worker.start()
            worker.wait_ready()
            progress("draining")
            draining = Draining(drain)
            taken = probe.run(express, every=_EVERY, random=random, going_on=draining)
            drain.close()
            note("under the backlog, express lane", taken)
    finally:
        worker.kill()
    return Measured(latencies=found, while_draining=draining.lasted)


class Draining:
    """Goes on as long as a backlog lasts, and for the least number of probes that tell anything."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self.lasted = 0

    def __call__(self, sent: int) -> bool:
        """Whether another probe is to follow ``sent`` of them."""
        if sent % _LOOK_EACH == 0 and self._drain.share < 1:
            self.lasted = sent + _LOOK_EACH
        return sent < max(self.lasted, _LEAST)


def _table(found: Sequence[Latency], title: str) -> Table:
    table = Table(title=title)
    table.add_column("probes of")
    for heading in ("probes", "p50, ms", "p99, ms", "most, ms"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(
            one.name, f"{one.probes:,}", f"{one.p50:.1f}", f"{one.p99:.1f}", f"{one.most:.1f}"
        )
    return table
