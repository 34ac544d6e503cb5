"""``python -m tests.chaos.webhooks``: the long campaign; ``make chaos STAGE=webhooks FAULTS=…``.

Two processes post opt-outs and permissions to three subscribers that fail a thousand times. They
are killed, frozen and ended, and broker and database restart.

It ends with the line ``webhooks-unexplained``, ``ok`` or ``short``. Exit codes: 0 every guarantee
held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.bars import bars_of
from benchmarks.results import RunReport, publish
from izin.local import Kafka, Postgres, free_port
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.chaos.webhooks.campaign import WebhookCampaign, WebhookVerdict

app = typer.Typer(add_completion=False, help="Faults on webhooks, and what came of them.")


@app.command()
def main(
    faults: Annotated[int, typer.Option(min=1, help="Faults of processes and servers.")] = 40,
    failures: Annotated[int, typer.Option(min=0, help="Failures of subscribers.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-webhooks"),
) -> None:
    """Inject faults into processes, servers and subscribers under load, then compare."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with (
        Kafka(folder, free_port()) as kafka,
        Postgres(folder, port=free_port()) as postgres,  # they come back under the same ports
    ):

        def restart_broker() -> None:
            kafka.stop()
            kafka.start()

        def restart_database() -> None:
            postgres.stop()
            postgres.start()

        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=4)
        ensure_topics(settings)
        campaign = WebhookCampaign(
            settings=settings,
            database_url=postgres.url,
            log=folder / "webhooks.log",
            seed=seed,
            failures=failures,
            restart_broker=restart_broker,
            restart_database=restart_database,
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    bars = [bar.name for bar in bars_of("chaos-webhooks")]
    raise typer.Exit(publish(found, bars=bars, results=folder / "result.json"))


def report(campaign: WebhookCampaign, verdict: WebhookVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    faults = ", ".join(f"{count} × {kind}" for kind, count in campaign.injected.most_common())
    failures = ", ".join(f"{count} × {kind}" for kind, count in verdict.failures.most_common())
    summary = (
        f"{verdict.events} events to {campaign.subscribers} subscribers in {seconds:.0f} s: "
        f"{verdict.deliveries} deliveries, {verdict.repeated} requests repeated"
    )
    return RunReport(
        tables=[
            summary,
            faults,
            failures,
            *(f"  {one}" for one in verdict.unexplained[:20]),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "faults": campaign.injected,
            **asdict(verdict),
            "failures": verdict.failures,  # asdict spoils a Counter
        },
        figures={"webhooks-unexplained": len(verdict.unexplained)},
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.webhooks")
