"""The benchmark ``before``: speeds beside those of the commit before the rooms were moved.

Both are installed compiled, the former from a worktree of its own. Each round runs the former once
and the present twice, in an order that turns; what counts is the median of the rounds' ratios, in
per cent. The ratio of the present to itself (A/A) says how much of that is noise.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import ROOT
from benchmarks.order.timer import TrialError, printed_by
from benchmarks.results import RunReport, progress

COMMIT = "3feca898"
"""The last one before the rooms of ``izin/`` were moved, merged and renamed."""
_WITHIN = 3600
_ATTEMPTS = 3
"""A run that ends by an error does not end the others."""
_KINDS = ("before", "now", "again")
RUNS = {
    "order": ("order-events", "order --contender izin --trials 1 --events 400000"),
    "ingest": ("ingest-rows", "sink --keys 20000 --trials 1 --seconds 5 --delay 0.5"),
    "gate": ("gate-rate", "gate --trials 1 --seconds 8 --timed 0.5"),
    "webhooks": ("webhook-throughput", "webhook-throughput --trials 1 --events 10000"),
}
"""By part: the figure, and the run that measures it. The last two are ratios to a bare program that
is measured in the same run, so that noise goes out.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round has measured of one part."""

    before: float
    now: float
    again: float

    @property
    def change(self) -> float:
        """The present speed in per cent of the former."""
        return (self.now + self.again) / 2 / self.before * 100

    @property
    def noise(self) -> float:
        """The present speed in per cent of itself."""
        return self.again / self.now * 100


def before(
    rounds: Annotated[int, typer.Option(min=1, help="Of both, in turn; the median counts.")] = 7,
    part: Annotated[list[str] | None, typer.Option(help="Only this part; repeat it.")] = None,
) -> RunReport:
    """Compare order stage, ingest, gate and webhooks with the commit before the rooms moved."""
    parts = part or list(RUNS)
    found: dict[str, list[Round]] = {one: [] for one in parts}
    with progress().status(f"installing {COMMIT}") as status:
        former = _installed(Path(".izin/before").absolute())
        for number in range(rounds):
            for one in parts:
                status.update(f"round {number + 1} of {rounds}: {one}")
                found[one].append(_round(former, one, number))
    return RunReport(
        tables=[_table(found)],
        data={one: [(a.before, a.now, a.again) for a in found[one]] for one in parts},
        figures={f"before-{one}": median([a.change for a in found[one]]) for one in parts},
    )


def _round(former: Path, part: str, number: int) -> Round:
    turned = _KINDS[number % 3 :] + _KINDS[: number % 3]
    return Round(**{kind: _measured(former if kind == "before" else ROOT, part) for kind in turned})


def _measured(tree: Path, part: str) -> float:
    """Return the figure of ``part`` with what is installed in ``tree``; raises TrialError."""
    figure, run = RUNS[part]
    compiled = tree / ".venv/compiled"
    present = (sys.executable,)
    former = ("env", f"PYTHONPATH={compiled / 'imports'}", str(compiled / "bin/python"))
    options = (*run.split(), "--figure", figure, "--output", "json")
    command = [*(present if tree == ROOT else former), "-m", "benchmarks", *options]
    for _ in range(_ATTEMPTS):
        # 1: short of its bar, or ended by an error, with nothing printed
        said = printed_by(command, within=_WITHIN, folder=tree, fine=(0, 1))
        figures = json.loads(said)["figures"] if said.strip() else ()
        value = {row["name"]: row["value"] for row in figures}.get(figure)
        if value is not None:
            return float(value)
    raise TrialError(f"{figure} was not measured in {tree.name}, {_ATTEMPTS} times")


def _installed(tree: Path) -> Path:
    """Return ``tree`` with the former commit in it, compiled; raises TrialError."""
    if not tree.exists():
        printed_by(["git", "worktree", "prune"], within=_WITHIN, folder=ROOT)
        add = ["git", "worktree", "add", "--detach", str(tree), COMMIT]
        printed_by(add, within=_WITHIN, folder=ROOT)
    alone = ("env", "--unset=PYTHONPATH", "--unset=PYTHONSAFEPATH")
    printed_by([*alone, "make", ".venv/compiled/.ready"], within=_WITHIN, folder=tree)
    return tree


def _table(found: dict[str, list[Round]]) -> Table:
    table = Table(title=f"Speed in per cent of {COMMIT}'s: median, and the range of the rounds")
    table.add_column("part")
    for heading in ("now to before", "range", "now to now", "range"):
        table.add_column(heading, justify="right")
    for part, rounds in found.items():
        cells = []
        for values in ([one.change for one in rounds], [one.noise for one in rounds]):
            cells += [f"{median(values):.1f}", f"{min(values):.1f} to {max(values):.1f}"]
        table.add_row(part, *cells)
    return table
