"""``python -m tests.chaos.order``: the long campaign; ``make chaos MINUTES=…``.

``make chaos STAGE=order MINUTES=13 CHAOS_ARGS="--rounds 3"`` injects more than 300 faults within 20
minutes on two busy cores.

The opt-outs' delay is that of ``tests.support.order.delays``, with these outages taken off: of a
partition while a foreign transaction hangs in it, in a lane or in ``desired-consents``; of all
while the only broker is killed (until it answers again) or frozen, or any broker is cut off from
all workers, for it leads on; and of all while every worker is killed (until it answers), frozen or
cut off. Nothing is taken off where one of three brokers is killed or frozen, or some workers are
stopped.

It ends with the lines ``order-violations``, ``order-opt-out-delay``, ``rolling-stall`` and
``rolling-end``, each ``ok`` or ``short``. Exit codes: 0 every guarantee held, 1 one was violated, 2
wrong usage.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import RunReport, progress
from tests.chaos.command import conclude, empty
from tests.chaos.order.rolling import RollingRestarts, restart_rolling
from tests.chaos.order.runs import OrderRun, random_faults, run_with_faults
from tests.support.order.delays import OptOutDelays

_LONGEST_RUN = 5.0
_SIZES = (1, 3, 1)

app = typer.Typer(
    add_completion=False, help="Inject faults into the order stage and check the result."
)


@app.command()
def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="Duration of the injection.")] = 10.0,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Rolling restarts of all workers.")] = 10,
    brokers: Annotated[int, typer.Option(help="1 or 3 alone; 0: in turns.")] = 0,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos"),
) -> None:
    """Inject faults on one broker and on three in turns, then check every event."""
    console = progress()
    empty(folder)
    sizes = (brokers,) if brokers else _SIZES
    count = max(len(sizes), round(minutes / _LONGEST_RUN))
    runs = [
        _run(
            console,
            folder,
            number,
            size=sizes[number % len(sizes)],
            seed=seed,
            minutes=minutes / count,
        )
        for number in range(count)
    ]
    rolling = restart_rolling(
        folder / "rolling", rounds=rounds, seed=seed, on_progress=console.print
    )
    raise conclude("order", folder, report(runs, rolling, seed=seed))


def _run(
    console: Console, folder: Path, number: int, *, size: int, seed: int, minutes: float
) -> OrderRun:
    console.print(f"run {number + 1}: brokers: {size}")
    run = run_with_faults(
        folder / f"run-{number + 1}",
        brokers=size,
        seed=seed + number,
        inject=random_faults(minutes * 60),
        on_progress=console.print,
    )
    console.print(f"run {number + 1}: {run.verdict}; {run.delays}")
    # A campaign that is cut short leaves the runs that it has finished.
    text = json.dumps(run.as_json(), ensure_ascii=False, indent=2)
    (folder / f"run-{number + 1}.json").write_text(f"{text}\n", encoding="utf-8")
    return run


def report(runs: list[OrderRun], rolling: RollingRestarts, *, seed: int) -> RunReport:
    """Return the report of the faults and of the rolling restarts."""
    return RunReport(
        tables=[_table(runs, rolling)],
        data={
            "seed": seed,
            "faults": sum(len(run.injected) for run in runs),
            "at_fault_points": sum(run.at_points for run in runs),
            "runs": [run.as_json() for run in runs],
            "opt_out_delays": opt_outs(runs).as_json(),
            "rolling": rolling.as_json(),
        },
        figures=figures(runs, rolling),
    )


def figures(runs: list[OrderRun], rolling: RollingRestarts) -> dict[str, float]:
    """Return the violations, and the stalls and ends of the rolling restarts."""
    return {
        "order-violations": sum(one.violations for one in (*runs, rolling)),
        "order-opt-out-delay": opt_outs(runs).at(1),
        "rolling-stall": rolling.stall,
        "rolling-end": max(rolling.ends),
    }


def opt_outs(runs: list[OrderRun]) -> OptOutDelays:
    """Return the waits of the opt-outs of all runs."""
    return OptOutDelays(one for run in runs for one in run.delays.waits)


def _table(runs: list[OrderRun], rolling: RollingRestarts) -> Table:
    table = Table(title="The order stage under faults: three workers, twelve partitions")
    for heading in ("run", "brokers", "recovered"):
        table.add_column(heading)
    for heading in ("faults", "at points", "events", "missing", "doubled", "backwards", "wrong"):
        table.add_column(heading, justify="right")
    for number, run in enumerate(runs, 1):
        verdict = run.verdict
        counted = (
            len(run.injected),
            run.at_points,
            verdict.counts["events"],
            len(verdict.missing),
            len(verdict.doubled),
            len(verdict.regressions),
            len(verdict.wrong) + len(verdict.opt_outs),
        )
        recovered = "yes" if run.recovered else "no"
        table.add_row(str(number), str(run.brokers), recovered, *map(str, counted))
    table.caption = (
        f"{sum(len(run.injected) for run in runs)} faults, "
        f"{sum(run.at_points for run in runs)} of them at fault points; {rolling}; "
        f"{opt_outs(runs)}"
    )
    return table


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.order")
