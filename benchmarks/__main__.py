"""``python -m izin.bench``: the races, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cpu_timing import machine
from benchmarks.law import ADMIT_AND_DECIDE, DICT_UPDATE, law
from benchmarks.order.command import order
from benchmarks.results import keep
from benchmarks.simulator.command import simulator
from benchmarks.sink.command import sink
from benchmarks.sink.rate_limit import limit
from benchmarks.worker.latency import latency
from benchmarks.worker.poison import poison
from benchmarks.worker.replay import replay
from benchmarks.worker.state_commands import restart, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cpu_timing import Lap

app = typer.Typer(add_completion=False, help="The race track: ratios measured in one run.")


@app.command("law")
def run(
    events: Annotated[int, typer.Option(min=100, help="Events of the course.")] = 200_000,
    laps: Annotated[int, typer.Option(min=3, help="Laps of each runner.")] = 5,
    results: Annotated[Path, typer.Option(help="Where the figures are kept as JSON.")] = Path(
        ".izin/bench/law.json"
    ),
) -> None:
    """Measure what the law costs an event, and its ratio to a plain dict update."""
    console = Console()
    where = machine()
    with console.status("admitting and deciding"):
        found = law(events=events, laps=laps)
    console.print(_table(found, f"The law, {events:,} canonical events, {laps} laps\n{where}"))
    keep(
        results,
        console,
        {
            "machine": where,
            "events": events,
            "laps": laps,
            "unit": "µs of CPU time an event",
            "runners": [asdict(lap) | {"ratio": ratio} for lap, ratio in _ratios(found)],
        },
    )


def _ratios(found: Sequence[Lap]) -> list[tuple[Lap, float]]:
    """Return each lap with its ratio to the dict update of the same run."""
    unit = next(lap.median for lap in found if lap.name == DICT_UPDATE)
    return [(lap, lap.median / unit) for lap in found]


def _table(found: Sequence[Lap], title: str) -> Table:
    table = Table(title=title)
    table.add_column("runner")
    for heading in ("µs/event", "min–max", f"× {DICT_UPDATE}"):
        table.add_column(heading, justify="right")
    for lap, ratio in _ratios(found):
        table.add_row(
            lap.name,
            f"{lap.median:.2f}",
            f"{lap.least:.2f}–{lap.most:.2f}",
            f"{ratio:.1f}",
            style="bold" if lap.name == ADMIT_AND_DECIDE else None,
        )
    return table


app.command("state")(state)
app.command("restart")(restart)
app.command("order")(order)
app.command("sink")(sink)
app.command("limit")(limit)
app.command("latency")(latency)
app.command("replay")(replay)
app.command("poison")(poison)
app.command("simulator")(simulator)


if __name__ == "__main__":
    app(prog_name="python -m izin.bench")
