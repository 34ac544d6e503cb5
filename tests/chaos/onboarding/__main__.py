"""``python -m tests.chaos.onboarding``: a first loading; ``make chaos STAGE=onboarding``.

It ends with the lines ``onboarding-forecast`` and ``onboarding-unexplained``, each ``ok`` or
``short``. Exit codes: 0 every bar is met, 1 one is missed, 2 wrong usage.
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import explained_report
from tests.chaos.days.virtual_site import run_campaign
from tests.chaos.onboarding.campaign import OnboardingVerdict, VirtualOnboarding

app = typer.Typer(add_completion=False, help="The first loading of three brands.")


@app.command()
def main(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the file.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same file for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-onboarding"
    ),
) -> None:
    """Judge, import and load a file, and compare forecast, counts and columns with İYS's."""
    raise run_campaign(
        "onboarding",
        folder,
        lambda loop, url, show: VirtualOnboarding(
            loop=loop, database_url=url, folder=folder, rows=rows, seed=seed, on_progress=show
        ).run(),
        report,
    )


def report(verdict: OnboardingVerdict, seconds: float) -> RunReport:
    """Return the report of a first loading."""
    summary = (
        f"{verdict.rows:,} rows, {verdict.published:,} published, {verdict.void:,} not lawful, in "
        f"{seconds:.0f} s: {verdict.took_seconds:.0f} s at İYS with {verdict.requests:,} requests, "
        f"{verdict.forecast_seconds:.0f} s by the forecast"
    )
    figures = {"onboarding-forecast": verdict.forecast_off}
    return explained_report("onboarding", verdict, summary, seconds=seconds, figures=figures)


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.onboarding")
