"""``python -m tests.chaos.sink``: the long campaign; ``make chaos STAGE=sink FAULTS=…``.

Half an hour of eight processes that end and come back thirty times:
``make chaos STAGE=sink FAULTS=30 MINUTES=30 CHAOS_ARGS="--workers 8 --restarts"``.

A hundred thousand opt-ins are outstanding all the while, in three brands, and twenty recipients opt
out every second, half of them while their opt-in is in flight.

It ends with the lines ``sink-unexplained`` and ``sink-opt-out-delay``, ``ok`` or ``short``. Exit
codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport, progress
from tests.chaos.command import conclude, counted, empty, listed
from tests.chaos.servers import running_servers
from tests.chaos.sink.campaign import HEAVY, SinkCampaign
from tests.chaos.sink.faults import RESTARTS, WEIGHTS
from tests.chaos.sink.verdict import SinkVerdict

_DELAYS = ("delays", "until_registered")
_PAUSE = (2.5, 4.5)
"""How many seconds lie between two faults: processes that end faster than they start do no work."""

app = typer.Typer(add_completion=False, help="Faults on the sinks, and what came of them.")


@app.command()
def main(  # noqa: PLR0917 - an option is an argument
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 300,
    keys: Annotated[
        int, typer.Option(min=1, help="How many opt-ins are outstanding, all the time.")
    ] = HEAVY.keys,
    opt_outs: Annotated[float, typer.Option(min=0, help="Opt-outs a second.")] = HEAVY.opt_outs,
    requests: Annotated[
        int, typer.Option(min=1, help="Requests a second that İYS accepts.")
    ] = HEAVY.requests,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Sink processes.")] = 3,
    minutes: Annotated[
        float,
        typer.Option(
            min=0, help="Over how long they are injected; 0: some seconds after one another."
        ),
    ] = 0,
    restarts: Annotated[
        bool, typer.Option("--restarts", help="Only end processes; nothing frozen, İYS well.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-sink"),
) -> None:
    """Inject faults into sinks, networks, database and calls under load, then compare."""
    empty(folder)
    began = time.monotonic()
    with running_servers(folder, partitions=6) as servers:
        campaign = SinkCampaign(
            settings=servers.settings,
            database_url=servers.database_url,
            simulator=servers.simulator,
            log=folder / "sinks.log",
            seed=seed,
            load=replace(HEAVY, keys=keys, opt_outs=opt_outs, requests=requests),
            workers=workers,
            kinds=RESTARTS if restarts else WEIGHTS,
            pause=_PAUSE,
            seconds=minutes * 60,
            restart_database=servers.restart_database,
            on_progress=progress().print,
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    raise conclude("sink", folder, found)


def report(campaign: SinkCampaign, verdict: SinkVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    first, last = campaign.outstanding
    summary = (
        f"{len(campaign.injected)} faults in {seconds:.0f} s on {campaign.workers} sink processes: "
        f"{verdict.keys} keys, {verdict.movements} movements, {verdict.calls} calls, "
        f"{verdict.token_calls} token calls, {verdict.h084} × H084, {verdict.h124} × H124, "
        f"{verdict.missed} terms missed"
    )
    load = (
        f"{first} opt-ins outstanding at the first fault, {last} at the last; {verdict.opt_outs} "
        f"opt-outs, {verdict.in_flight} of them with an opt-in in flight"
    )
    delays = f"until submitted, {verdict.delays}; {verdict.away:.0f} s of outages not counted"
    kinds = Counter(str(fault) for _, fault, _ in campaign.injected)
    return RunReport(
        tables=[
            summary,
            load,
            delays,
            f"until registered, {verdict.until_registered}",
            counted(kinds),
            *listed(verdict.unexplained),
            *(f"  {one}" for one in verdict.slow if verdict.delays.over),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "workers": campaign.workers,
            "load": asdict(campaign.load),
            "outstanding": campaign.outstanding,
            "faults": kinds,
            "injected": [
                f"{at:7.1f} s  {target:<10} {fault}" for at, fault, target in campaign.injected
            ],
            **{name: value for name, value in asdict(verdict).items() if name not in _DELAYS},
            **{name: str(getattr(verdict, name)) for name in _DELAYS},
        },
        figures={
            "sink-unexplained": len(verdict.unexplained),
            "sink-opt-out-delay": verdict.delays.slowest,
        },
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.sink")
