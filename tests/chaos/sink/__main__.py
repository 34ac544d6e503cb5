"""``python -m tests.chaos.sink``: the long campaign; ``make chaos STAGE=sink FAULTS=…``.

Half an hour of eight processes that end and come back thirty times:
``make chaos STAGE=sink FAULTS=30 MINUTES=30 CHAOS_ARGS="--workers 8 --restarts"``.

It ends with the line ``sink-unexplained``, ``ok`` or ``short``. Exit codes: 0 every guarantee
held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import shutil
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.bars import bars_of
from benchmarks.results import RunReport, publish
from izin.local import Kafka, Postgres, free_port
from izin.runtime.settings import KafkaSettings
from tests.chaos.sink.campaign import RESTARTS, WEIGHTS, SinkCampaign
from tests.chaos.sink.verdict import SinkVerdict
from tests.support.simulator import running_simulator

app = typer.Typer(add_completion=False, help="Faults on the sinks, and what came of them.")


@app.command()
def main(  # noqa: PLR0917 - an option is an argument
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 120,
    keys: Annotated[int, typer.Option(min=1, help="How many recipients opt in and out.")] = 300,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Sink processes.")] = 3,
    minutes: Annotated[
        float, typer.Option(min=0, help="Over how long they are injected; 0: in quick succession.")
    ] = 0,
    restarts: Annotated[
        bool, typer.Option("--restarts", help="Only end processes; nothing frozen, İYS well.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-sink"),
) -> None:
    """Inject faults into sinks, database and calls, let everything settle, then compare."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with (
        Kafka(folder) as kafka,
        Postgres(folder, port=free_port()) as postgres,  # it comes back under the same port
        running_simulator(folder) as simulator,
    ):

        def restart() -> None:
            postgres.stop()
            postgres.start()

        campaign = SinkCampaign(
            settings=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=6),
            database_url=postgres.url,
            simulator=simulator,
            log=folder / "sinks.log",
            keys=keys,
            seed=seed,
            workers=workers,
            kinds=RESTARTS if restarts else WEIGHTS,
            seconds=minutes * 60,
            restart_database=restart,
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    bars = [bar.name for bar in bars_of("chaos-sink")]
    raise typer.Exit(publish(found, bars=bars, results=folder / "result.json"))


def report(campaign: SinkCampaign, verdict: SinkVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    summary = (
        f"{len(campaign.injected)} faults in {seconds:.0f} s on {campaign.workers} sink processes: "
        f"{verdict.keys} keys, {verdict.movements} movements, {verdict.calls} calls, "
        f"{verdict.token_calls} token calls, {verdict.h084} × H084, {verdict.h124} × H124, "
        f"{verdict.missed} terms missed"
    )
    return RunReport(
        tables=[summary, *(f"  {one}" for one in verdict.unexplained[:20])],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "workers": campaign.workers,
            "faults": Counter(str(fault) for _, fault, _ in campaign.injected),
            "injected": [
                f"{at:7.1f} s  {target:<10} {fault}" for at, fault, target in campaign.injected
            ],
            **asdict(verdict),
        },
        figures={"sink-unexplained": len(verdict.unexplained)},
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.sink")
