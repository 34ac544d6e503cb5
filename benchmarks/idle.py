"""The benchmark ``idle``: what the local stack costs while nothing happens; and ``help``."""

import sys
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter, sleep
from typing import Annotated

import httpx
import typer
from rich.table import Table

from benchmarks.local_stack import running_local_stack
from benchmarks.order.timer import printed_by
from benchmarks.process_usage import cpu_seconds, family, processes_with, tree_megabytes
from benchmarks.results import RunReport, progress
from izin.stack.stack import WORKERS

_SETTLED = 30.0
"""Seconds after the start, in which first pulls and readings end."""
_LISTS = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class RestingProcess:
    """What a process costs: of one core, and resident."""

    name: str
    percent: float
    mib: float


def idle(
    seconds: Annotated[float, typer.Option(min=5, help="For how long it is looked at.")] = 120,
) -> RunReport:
    """Run ``izin up`` without anything to do, and measure what each process takes."""
    with running_local_stack() as stack:
        sleep(_SETTLED)
        found = {part: processes_with(module)[0] for _, module, part in WORKERS}
        began, before = perf_counter(), {name: _cpu(one) for name, one in found.items()}
        asked = _requests(stack.url("simulator"))
        sleep(seconds)
        passed = perf_counter() - began
        resting = [
            RestingProcess(
                name=name,
                percent=100 * (_cpu(one) - before[name]) / passed,
                mib=tree_megabytes(one),
            )
            for name, one in found.items()
        ]
        asked = _requests(stack.url("simulator")) - asked
    table = Table(title=f"At rest, over {passed:.0f} s; İYS was called {asked} times")
    table.add_column("process")
    for heading in ("% of a core", "MiB"):
        table.add_column(heading, justify="right")
    for one in resting:
        table.add_row(one.name, f"{one.percent:.2f}", f"{one.mib:.0f}")
    total = sum(one.percent for one in resting)
    table.add_row("all", f"{total:.2f}", f"{sum(one.mib for one in resting):.0f}")
    return RunReport(
        tables=[table],
        data={"processes": [asdict(one) for one in resting], "calls": asked, "seconds": passed},
        figures={"idle": total, **{f"idle-{one.name}": one.percent for one in resting}},
    )


def _cpu(process: int) -> float:
    """Return the seconds of CPU that a process has used, with those that it started."""
    return sum(cpu_seconds(one) for one in family(process))


def _requests(simulator: str) -> int:
    """Return how often the simulator was called."""
    found = httpx.get(f"{simulator}/__simulator__/requests").json()["operations"]
    return sum(one["total"] for one in found.values())


def list_of_commands() -> RunReport:
    """Print the list of all commands, as somebody does who looks for one."""
    command = [sys.executable, "-P", "-m", "izin.cli", "--help"]
    printed_by(command, within=60)
    took = []
    with progress().status("izin --help"):
        for _ in range(_LISTS):
            began = perf_counter()
            printed_by(command, within=60)
            took.append(perf_counter() - began)
    return RunReport(
        tables=[f"izin --help: {median(took):.2f} s, median of {_LISTS}"],
        data={"seconds": took},
        figures={"help": median(took)},
    )
