"""``python -m tests.chaos.reconcile``: random differences; ``make chaos STAGE=reconcile``.

It ends with the lines ``reconcile-found`` and ``reconcile-unexplained``, each ``ok`` or ``short``.
Exit codes: 0 every difference was named and repaired, 1 one was not, 2 wrong usage.
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
from tests.chaos.command import conclude, empty, showing
from tests.chaos.reconcile.campaign import ReconcileCampaign, ReconcileVerdict
from tests.chaos.servers import running_servers

app = typer.Typer(add_completion=False, help="Differences, planted at random and repaired.")


@app.command()
def main(
    differences: Annotated[int, typer.Option(min=1, max=6000, help="How many are planted.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-reconcile"
    ),
) -> None:
    """Plant differences in simulator, ledger and topics, then find, name and repair them."""
    configure(LogSettings(level="critical"))
    empty(folder)
    began = time.monotonic()
    with (
        showing("starting") as show,
        running_servers(folder, partitions=4) as servers,
    ):
        campaign = ReconcileCampaign(
            kafka=servers.settings,
            database_url=servers.database_url,
            iys=servers.simulator,
            folder=folder,
            differences=differences,
            seed=seed,
            on_progress=show,
        )
        verdict = asyncio.run(campaign.run())
    found = report(verdict, seed=seed, seconds=time.monotonic() - began)
    raise conclude("reconcile", folder, found)


def report(verdict: ReconcileVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    plants = ", ".join(f"{name} {count}" for name, count in sorted(verdict.plants.items()))
    summary = (
        f"{verdict.planted} differences in {seconds:.0f} s: {plants}; {verdict.found} named, "
        f"{verdict.repaired} repaired"
    )
    failures = [f"{verdict.repeated} keys were repaired twice"] if verdict.repeated else []
    if verdict.wrong:
        failures.append(f"{len(verdict.wrong)} keys were named otherwise, or are others")
    return RunReport(
        tables=[summary, *(f"  {one}" for one in (*verdict.wrong, *verdict.unexplained)[:40])],
        data={"seed": seed, "seconds": round(seconds), **asdict(verdict)},
        figures={
            "reconcile-found": verdict.found,
            "reconcile-unexplained": len(verdict.unexplained),
        },
        failures=failures,
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.reconcile")
