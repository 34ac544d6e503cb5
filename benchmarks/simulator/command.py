"""The command ``simulator``: what İYS's twin bears, and what it costs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cpu_timing import machine
from benchmarks.results import keep
from benchmarks.simulator import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.simulator.load import Load

PER_SECOND = 10
"""What İYS takes from one address."""


def simulator(  # noqa: PLR0913 - an option is an argument
    *,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the paced load.")] = 60,
    batches: Annotated[int, typer.Option(min=1, help="Batches sent as fast as it can.")] = 300,
    records: Annotated[int, typer.Option(min=0, help="Records it holds before; 0 is none.")] = 0,
    state: Annotated[
        Path | None, typer.Option(help="A file to fill and keep, filled before or not.")
    ] = None,
    in_memory: Annotated[bool, typer.Option(help="Hold the state in memory, not a file.")] = False,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/simulator.json"
    ),
) -> None:
    """Measure batch adds at 10 requests a second, results asked after, and as fast as it can.

    Exit code 1 if any answer or any result was not the expected one.
    """
    if in_memory and (records or state):
        raise typer.BadParameter("a filled state is a file", param_hint="--records")
    console, where = Console(), machine()
    with TemporaryDirectory(prefix="izin-bench-") as name:
        folder = Path(name)
        file = None if in_memory else state or folder / "twin.db"
        if file is not None:
            with console.status(f"writing {records:,} records"):
                records = load.fill(file, records)
        with console.status("loading"), load.simulator(folder, file) as child:
            paced = load.bodies(records, int(seconds * PER_SECOND))
            loads = [asyncio.run(load.paced(child, paced, per_second=PER_SECOND))]
            unpaced = load.bodies(records + len(paced) * load.SIZE, batches)
            loads.append(asyncio.run(load.unpaced(child, unpaced)))
        size = 0 if file is None else file.stat().st_size
    held = "memory" if in_memory else f"a file of {size / 1e6:,.0f} MB at the end"
    title = f"The simulator, {records:,} records before, state in {held}\n{where}"
    console.print(_table(loads, title))
    keep(
        results,
        console,
        {
            "machine": where,
            "records": records,
            "in_memory": in_memory,
            "file_bytes": size,
            "loads": [_figures(load) for load in loads],
        },
    )
    if any(load.errors for load in loads):
        raise typer.Exit(1)


def _figures(load: Load) -> dict[str, object]:
    told = {"consents_per_second": load.per_second, "cpu_share": load.cpu_share}
    return asdict(load) | {name: round(value, 3) for name, value in told.items()}


def _table(loads: Sequence[Load], title: str) -> Table:
    table = Table(title=title)
    table.add_column("load", no_wrap=True)
    headings = ("consents", "errors", "a second", "CPU", "µs each", "slowest ms", "peak MB")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for load in loads:
        table.add_row(
            load.name,
            f"{load.consents:,}",
            f"{load.errors:,}",
            f"{load.per_second:,.0f}",
            f"{load.cpu_share:.0%}",
            f"{load.cpu / load.consents * 1e6:.1f}",
            f"{load.slowest_ms:,.0f}",
            f"{load.peak_mb:,.0f}",
        )
    return table
