"""The benchmark ``simulator``: the load that the İYS simulator handles, and its CPU time."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.results import RunReport, progress
from benchmarks.simulator.load import (
    BATCH_SIZE,
    LoadResult,
    batch_bodies,
    fill,
    paced_load,
    run_simulator,
    unpaced_load,
)

PER_SECOND = 10
"""Requests a second that İYS accepts from one address."""


def simulator(
    *,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the paced load.")] = 60,
    batches: Annotated[int, typer.Option(min=1, help="Batches of the unpaced load.")] = 300,
    records: Annotated[int, typer.Option(min=0, help="Records in it before the load.")] = 0,
    state: Annotated[
        Path | None, typer.Option(help="A file for its state, which is kept; filled as needed.")
    ] = None,
    in_memory: Annotated[bool, typer.Option(help="Store the state in memory, not a file.")] = False,
) -> RunReport:
    """Measure batch adds at 10 requests a second, results polled after, and as fast as it can."""
    if in_memory and (records or state):
        raise typer.BadParameter(
            "records before the load need a state in a file", param_hint="--records"
        )
    with TemporaryDirectory(prefix="izin-bench-") as name, progress().status("loading") as status:
        folder = Path(name)
        file = None if in_memory else state or folder / "simulator.db"
        if file is not None:
            status.update(f"writing {records:,} records")
            records = fill(file, records)
        with run_simulator(folder, file) as child:
            status.update("loading")
            paced = batch_bodies(records, int(seconds * PER_SECOND))
            unpaced = batch_bodies(records + len(paced) * BATCH_SIZE, batches)
            loads = (
                asyncio.run(paced_load(child, paced, per_second=PER_SECOND)),
                asyncio.run(unpaced_load(child, unpaced)),
            )
        size = 0 if file is None else file.stat().st_size
    held = "memory" if in_memory else f"a file of {size / 1e6:,.0f} MB at the end"
    return RunReport(
        tables=[_table(loads, f"The simulator, {records:,} records before, state in {held}")],
        data={
            "records": records,
            "in_memory": in_memory,
            "file_bytes": size,
            "loads": [_as_json(load) for load in loads],
        },
        figures=figures(loads),
        failures=[f"{one.errors:,} errors in {one.name}" for one in loads if one.errors],
    )


def figures(loads: Sequence[LoadResult]) -> Mapping[str, float]:
    """Return errors and CPU of the paced load, and the rate of the unpaced one."""
    paced, unpaced = loads
    return {
        "simulator-errors": paced.errors,
        "simulator-cpu": paced.cpu_share * 100,
        "simulator-rate": unpaced.per_second,
    }


def _as_json(load: LoadResult) -> dict[str, object]:
    rates = {"consents_per_second": load.per_second, "cpu_share": load.cpu_share}
    return asdict(load) | {name: round(value, 3) for name, value in rates.items()}


def _table(loads: Sequence[LoadResult], title: str) -> Table:
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
