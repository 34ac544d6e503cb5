"""The commands ``state`` and ``restart``: what holding costs, and what it takes to hold again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from izin.bench.laps import machine
from izin.bench.restart import restarts
from izin.bench.results import keep
from izin.bench.state import speeds, weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from izin.bench.laps import Lap
    from izin.bench.restart import Start
    from izin.bench.state import Weight

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
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/restart.json"
    ),
) -> None:
    """Measure how long a worker needs until it is ready again, on a real Kafka of its own."""
    console, where = Console(), machine()
    with TemporaryDirectory(prefix="izin-bench-") as folder, console.status("starting") as told:
        found = restarts(keys=keys, folder=Path(folder), progress=told.update)
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
    table.add_column("ready after, s", justify="right")
    table.add_column("of it CPU, s", justify="right")
    for one in found:
        table.add_row(one.name, f"{one.seconds:.1f}", f"{one.cpu:.1f}")
    return table
