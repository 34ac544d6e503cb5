"""``python -m tests.chaos.outage``: ten days down on a virtual clock; ``make chaos STAGE=outage``.

It ends with the lines ``outage-shut``, ``outage-confirmed`` and ``outage-unexplained``, each ``ok``
or ``short``. Exit codes: 0 every bar is met, 1 one is missed, 2 wrong usage.
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import explained_report
from tests.chaos.days.virtual_site import run_campaign
from tests.chaos.outage.campaign import OutageVerdict, VirtualOutage

app = typer.Typer(add_completion=False, help="Days down, and how soon nothing wrong is permitted.")


@app.command()
def main(
    keys: Annotated[int, typer.Option(min=1000, help="Consents at İYS and here.")] = 1_000_000,
    rejections: Annotated[int, typer.Option(min=1, help="Citizens who reject meanwhile.")] = 2000,
    days: Annotated[float, typer.Option(min=10, help="How long the sinks are down.")] = 10,
    seed: Annotated[int, typer.Option(help="The same citizens for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-outage"
    ),
) -> None:
    """Have citizens reject while the sinks are down for days, and measure the return."""
    raise run_campaign(
        "outage",
        folder,
        lambda loop, url, show: VirtualOutage(
            loop=loop,
            database_url=url,
            keys=keys,
            rejections=rejections,
            days=days,
            seed=seed,
            on_progress=show,
        ).run(),
        report,
    )


def report(verdict: OutageVerdict, seconds: float) -> RunReport:
    """Return the report of an outage."""
    summary = (
        f"{verdict.days:g} days down, {verdict.rejections:,} rejections among {verdict.keys:,} "
        f"keys, in {seconds:.0f} s: {verdict.swept:,} requests for a thousand, "
        f"{verdict.queried:,} for one"
    )
    figures = {
        "outage-shut": verdict.shut_minutes,
        "outage-confirmed": verdict.confirmed_hours,
    }
    return explained_report("outage", verdict, summary, seconds=seconds, figures=figures)


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.outage")
