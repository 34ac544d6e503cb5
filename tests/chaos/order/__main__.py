"""`python -m tests.chaos.order`: the long campaign; `make chaos MINUTES=…`.

Exit codes: 0 every promise was kept, 1 one was broken, 2 wrong usage.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.order.rolling import Roll, roll
from tests.chaos.order.runs import Leg, drawn, run_leg

_LONGEST_LEG = 5.0
_SIZES = (1, 3, 1)

app = typer.Typer(add_completion=False, help="Faults on the order stage, and what came of them.")


@app.command()
def run(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long faults fall.")] = 10.0,
    seed: Annotated[int, typer.Option(help="The same draws for the same seed.")] = 1,
    rounds: Annotated[int, typer.Option(min=0, help="Rolling restarts of all workers.")] = 10,
    brokers: Annotated[int, typer.Option(help="1 or 3 alone; 0: in turns.")] = 0,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last run, and its result.")
    ] = Path(".izin/chaos"),
) -> None:
    """Strike workers and brokers for so long, on one broker and on three in turns, then judge."""
    console = Console(highlight=False)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sizes = (brokers,) if brokers else _SIZES
    count = max(len(sizes), round(minutes / _LONGEST_LEG))
    began = time.time()
    legs: list[Leg] = []
    for number in range(count):
        size = sizes[number % len(sizes)]
        console.print(f"leg {number + 1} of {count}: brokers: {size}")
        leg = run_leg(
            folder / f"leg-{number + 1}",
            brokers=size,
            seed=seed + number,
            strike=drawn(minutes * 60 / count),
            tell=console.print,
        )
        legs.append(leg)
        console.print(f"leg {number + 1}: {leg.verdict}")
        _keep(folder, legs, None, began=began, seed=seed)
    rolled = roll(folder / "rolling", rounds=rounds, seed=seed, tell=console.print)
    _keep(folder, legs, rolled, began=began, seed=seed)
    console.print(_table(legs, rolled))
    console.print(f"kept in {folder / 'result.json'}")
    if not all(leg.faultless for leg in legs) or not rolled.faultless:
        raise typer.Exit(1)


def _keep(folder: Path, legs: list[Leg], rolled: Roll | None, *, began: float, seed: int) -> None:
    """Write what is known so far: a long run that is cut short leaves its legs."""
    result = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        "seconds": round(time.time() - began),
        "seed": seed,
        "faults": sum(len(leg.strikes) for leg in legs),
        "at_fault_points": sum(leg.at_points for leg in legs),
        "faultless": all(leg.faultless for leg in legs) and (rolled is None or rolled.faultless),
        "legs": [leg.as_json() for leg in legs],
        "rolling": None if rolled is None else rolled.as_json(),
    }
    text = json.dumps(result, ensure_ascii=False, indent=2)
    (folder / "result.json").write_text(f"{text}\n", encoding="utf-8")


def _table(legs: list[Leg], rolled: Roll) -> Table:
    table = Table(title="The order stage under faults: three workers, twelve partitions")
    for heading in ("leg", "brokers", "recovered"):
        table.add_column(heading)
    for heading in ("faults", "at points", "events", "missing", "doubled", "backwards", "wrong"):
        table.add_column(heading, justify="right")
    rows = [(str(n), leg.brokers, len(leg.strikes), leg) for n, leg in enumerate(legs, 1)]
    for name, brokers, faults, leg in rows:
        verdict = leg.verdict
        figures = (
            faults,
            leg.at_points,
            verdict.counts["events"],
            len(verdict.missing),
            len(verdict.doubled),
            len(verdict.regressions),
            len(verdict.wrong) + len(verdict.opt_outs),
        )
        table.add_row(name, str(brokers), "yes" if leg.recovered else "no", *map(str, figures))
    table.caption = (
        f"{sum(len(leg.strikes) for leg in legs)} faults, "
        f"{sum(leg.at_points for leg in legs)} of them at fault points; {rolled}"
    )
    return table


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.order")
