"""``python -m tests.chaos.property``: a million histories; ``make chaos STAGE=property``.

Of a hundred histories one is read by evidence, what-if and reconcile too, which must say what the
ledger says. It ends with the lines ``property-histories``, ``property-unexplained``,
``property-compared`` and ``property-disagreements``, each ``ok`` or ``short``. Exit codes: 0 no
history hides an opt-out and all readers agree, 1 else, 2 wrong usage.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import conclude, counted, empty, listed, showing
from tests.chaos.property import campaign
from tests.chaos.property.campaign import PropertyVerdict

app = typer.Typer(add_completion=False, help="Generated histories of a key, and what they hide.")


@app.command()
def main(
    histories: Annotated[int, typer.Option(min=1, help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same histories for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The result of the last run.")] = Path(
        ".izin/chaos-property"
    ),
) -> None:
    """Generate histories, and look for an opt-out that İYS lacks and of which nothing is due."""
    empty(folder)
    began = time.monotonic()
    with showing("starting") as show:
        verdict = campaign.run(histories=histories, seed=seed, on_progress=show)
    found = report(verdict, seed=seed, seconds=time.monotonic() - began)
    raise conclude("property", folder, found)


def report(verdict: PropertyVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summary = (
        f"{verdict.histories:,} histories of {verdict.acts:,} acts in {seconds:.0f} s, "
        f"{verdict.settled:,} of them settled by an honest İYS; in {verdict.due_again:,} "
        "an opt-out was due again behind a void opt-in"
    )
    return RunReport(
        tables=[summary, counted(verdict.kinds), *listed(verdict.unexplained)],
        data={"seconds": round(seconds), "seed": seed, **asdict(verdict)},
        figures={
            "property-histories": verdict.histories,
            "property-unexplained": verdict.violations,
            "property-compared": verdict.compared,
            "property-disagreements": verdict.disagreements,
        },
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.property")
