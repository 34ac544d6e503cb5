"""``python -m tests.chaos.days``: a week on a virtual clock; ``make chaos STAGE=days DAYS=7``.

It ends with the lines ``days-unexplained`` and ``days-token-calls``, each ``ok`` or ``short``. Exit
codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import explained_report
from tests.chaos.days.campaign import DaysVerdict, VirtualDays
from tests.chaos.days.virtual_site import run_campaign

app = typer.Typer(add_completion=False, help="Days of a company, and what came of them.")


@app.command()
def main(
    days: Annotated[float, typer.Option(min=0.1, help="How many days pass.")] = 7,
    sinks: Annotated[int, typer.Option(min=1, help="Sink processes behind one address.")] = 8,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-days"
    ),
) -> None:
    """Run days as fast as their work permits, let everything settle, then compare."""
    raise run_campaign(
        "days",
        folder,
        lambda loop, url, show: VirtualDays(
            loop=loop, database_url=url, days=days, seed=seed, sinks=sinks, on_progress=show
        ).run(),
        lambda verdict, seconds: report(verdict, seed=seed, sinks=sinks, seconds=seconds),
    )


def report(verdict: DaysVerdict, *, seed: int, sinks: int, seconds: float) -> RunReport:
    """Return the report of the days."""
    summary = (
        f"{verdict.days:g} days of {sinks} sinks in {seconds:.0f} s: {verdict.events} events, "
        f"{verdict.movements} movements, {verdict.calls} calls, {verdict.restarts} restarts, "
        f"{verdict.outages} outages, {verdict.token_calls} token calls; "
        f"{verdict.over_the_holiday} terms over the holiday, the tightest kept with "
        f"{verdict.tightest} left"
    )
    return explained_report(
        "days",
        verdict,
        summary,
        seconds=seconds,
        figures={"days-token-calls": verdict.most_tokens_an_hour},
        seed=seed,
        sinks=sinks,
        tightest=str(verdict.tightest),
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.days")
