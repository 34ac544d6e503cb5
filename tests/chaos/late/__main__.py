"""``python -m tests.chaos.late``: ends of transactions that come late; ``make chaos STAGE=late``.

A proxy before the broker loses the end of nine transactions in ten: the request, which it delivers
in the middle of the next transaction or while the next producer starts, or the answer. Of the
tenth, the request that adds partitions comes late, when the transaction is over.

It ends with the lines ``late-ends`` and ``late-wrong``, ``ok`` or ``short``. Exit codes: 0 every
transaction stands as its producer believed or learnt, whole and once; 1 one does not; 2 wrong
usage.
"""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.runtime.logs import configure
from izin.runtime.settings import LogSettings
from tests.chaos.command import conclude, counted, empty, listed, showing
from tests.chaos.late import campaign
from tests.chaos.late.campaign import LateVerdict
from tests.support.late_requests import Loss

app = typer.Typer(add_completion=False, help="Ends of transactions that come late.")


@app.command()
def main(
    ends: Annotated[int, typer.Option(min=1, help="How many ends come late.")] = 10_000,
    producers: Annotated[int, typer.Option(min=1, help="How many write at once.")] = 24,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The broker's data, and the result.")] = Path(
        ".izin/chaos-late"
    ),
) -> None:
    """Lose the ends of transactions, deliver them late, then compare with what was believed."""
    configure(LogSettings(level="critical"))  # each loss is a warning of aiokafka's
    empty(folder)
    began = time.monotonic()
    with showing("starting") as show:
        verdict = asyncio.run(
            campaign.run(folder, ends=ends, producers=producers, seed=seed, on_progress=show)
        )
    raise conclude("late", folder, report(verdict, seed=seed, seconds=time.monotonic() - began))


def report(verdict: LateVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    answers = {f"error {error}": count for error, count in verdict.late_answers.items()}
    return RunReport(
        tables=[
            f"seed {seed}: {verdict.transactions} transactions in {seconds:.0f} s",
            f"{counted(verdict.losses)}; {verdict.partitions_added_late} × partitions added late",
            f"late ends were answered: {counted(answers)}",
            *listed(verdict.wrong),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            **asdict(verdict),
            "losses": verdict.losses,  # asdict spoils a Counter
            "late_answers": answers,
        },
        figures={"late-ends": verdict.losses[Loss.LATE], "late-wrong": len(verdict.wrong)},
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.late")
