"""`python -m tests.chaos.days`: a week by the house's own clock; `make chaos STAGE=days DAYS=7`.

Exit codes: 0 every promise was kept, 1 one was broken, 2 wrong usage.
"""

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from izin.local import Postgres, create_database
from izin.runtime.observe import configure
from izin.runtime.settings import LogSettings
from tests.chaos.days.campaign import Days
from tests.chaos.days.virtual_loop import run as run_loop

app = typer.Typer(add_completion=False, help="Days of a company's life, and what came of them.")


@app.command()
def run(
    days: Annotated[float, typer.Option(min=0.1, help="How many days pass.")] = 7,
    sinks: Annotated[int, typer.Option(min=1, help="Sink processes behind one address.")] = 8,
    seed: Annotated[int, typer.Option(help="The same draws for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-days"
    ),
) -> None:
    """Live through so many days in as long as their work takes, let all settle, then judge."""
    # What fails on purpose is told by the result; only what would alarm a person is logged.
    configure(LogSettings(level="critical"))
    console = Console(highlight=False)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with Postgres(folder) as postgres, console.status("setting up") as told:
        url = create_database(postgres.url, "days")
        found = run_loop(
            lambda loop: Days(
                loop=loop,
                database_url=url,
                days=days,
                seed=seed,
                sinks=sinks,
                progress=told.update,
            ).run()
        )
    result = {"seed": seed, "sinks": sinks, "seconds": round(time.monotonic() - began)}
    text = json.dumps(result | asdict(found), ensure_ascii=False, indent=2, default=str)
    (folder / "result.json").write_text(f"{text}\n", encoding="utf-8")
    console.print(
        f"{days:g} days of {sinks} sinks in {result['seconds']} s: {found.events} events, "
        f"{found.movements} movements, {found.calls} calls, {found.restarts} restarts, "
        f"{found.outages} outages; {found.token_calls} token calls, {found.most_tokens_an_hour} at "
        f"most an hour; {found.over_the_holiday} terms over the holiday, the tightest kept with "
        f"{found.tightest} left; {len(found.faults)} unexplained"
    )
    for one in found.faults[:20]:
        console.print(f"  {one}")
    console.print(f"kept in {folder / 'result.json'}")
    if found.faults:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.days")
