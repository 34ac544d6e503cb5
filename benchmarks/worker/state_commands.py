"""The commands ``state`` and ``restart``: what holding costs, and what it takes to hold again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cpu_timing import machine
from benchmarks.results import keep
from benchmarks.worker.installation import installation
from benchmarks.worker.restart import PARTITIONS, restarts
from benchmarks.worker.state import speeds, weights
from izin.runtime.settings import StateKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.cpu_timing import Lap
    from benchmarks.worker.restart import Start
    from benchmarks.worker.state import Weight

_MB = 1_000_000
_SHARE = 10
"""Speeds are raced over a tenth of the keys that are weighed."""


def state(
    keys: Annotated[int, typer.Option(min=1000, help="Keys held.")] = 1_000_000,
    laps: Annotated[int, typer.Option(min=3, help="Laps of each runner.")] = 3,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/state.json"
    ),
) -> None:
    """Measure what a million keys of the order stage's state weigh, and what one of them costs."""
    console, where, raced = Console(), machine(), keys // _SHARE
    with console.status("weighing"):
        weighed = weights(keys=keys)
    with console.status("racing"):
        run = speeds(keys=raced, laps=laps)
    title = f"The state, {keys:,} keys weighed, {raced:,} raced, {laps} laps\n{where}"
    console.print(_state_table(weighed, run, title))
    keep(
        results,
        console,
        {
            "machine": where,
            "keys": keys,
            "laps": laps,
            "unit": "bytes; µs of CPU time a key",
            "weights": [asdict(one) for one in weighed],
            **{name: [asdict(lap) for lap in found] for name, found in run.items()},
        },
    )


def restart(
    keys: Annotated[int, typer.Option(min=1000, help="Keys of the partition.")] = 2_000_000,
    state: Annotated[
        list[StateKind] | None, typer.Option(help="Only this kind of state; may be repeated.")
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option(help="A broker to use instead of one of our own.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/restart.json"
    ),
) -> None:
    """Measure how long a worker needs until it is ready again, and what flows meanwhile."""
    console, where = Console(), machine()
    with (
        TemporaryDirectory(prefix="izin-bench-") as folder,
        console.status("starting") as told,
        installation(Path(folder), partitions=PARTITIONS, given=bootstrap_servers) as settings,
    ):
        found = restarts(
            settings,
            Path(folder),
            keys=keys,
            kinds=state or tuple(StateKind),
            progress=told.update,
        )
    console.print(_restart_table(found, f"Ready again, {keys:,} keys in one partition\n{where}"))
    keep(
        results,
        console,
        {"machine": where, "keys": keys, "unit": "s", "starts": [asdict(one) for one in found]},
    )


def _state_table(weighed: Sequence[Weight], run: Mapping[str, Sequence[Lap]], title: str) -> Table:
    table = Table(title=title)
    table.add_column("kept as")
    for heading in ("MB/million", "MB on disk", *(f"{name} µs/key, min–max" for name in run)):
        table.add_column(heading, justify="right")
    for row, weight in enumerate(weighed):
        per_million = _MB / weight.keys
        table.add_row(
            weight.kind,
            f"{weight.resident * per_million / _MB:.0f}",
            f"{weight.on_disk * per_million / _MB:.0f}",
            *(
                f"{laps[row].median:.1f}, {laps[row].least:.1f}–{laps[row].most:.1f}"
                for laps in run.values()
            ),
        )
    return table


def _restart_table(found: Sequence[Start], title: str) -> Table:
    table = Table(title=title)
    table.add_column("state")
    for heading in ("ready after, s", "of it CPU, s", "peak MB", "beside it: p50, p99, most, ms"):
        table.add_column(heading, justify="right")
    for one in found:
        flow = one.flow
        beside = "" if flow is None else f"{flow.p50:.0f}, {flow.p99:.0f}, {flow.most:.0f}"
        table.add_row(
            one.name, f"{one.seconds:.1f}", f"{one.cpu:.1f}", f"{one.peak_mb:,.0f}", beside
        )
    return table
