"""``python -m tests.chaos.webhooks``: the long campaign; ``make chaos STAGE=webhooks FAULTS=…``.

Two processes post opt-outs and permissions to three subscribers that fail a thousand times. They
are killed, frozen and ended, and broker and database restart.

It ends with the line ``webhooks-unexplained``, ``ok`` or ``short``. Exit codes: 0 every guarantee
held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport, progress
from tests.chaos.command import conclude, counted, empty, listed
from tests.chaos.servers import running_servers
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
    empty(folder)
    began = time.monotonic()
    with running_servers(folder, partitions=4) as servers:
        campaign = WebhookCampaign(
            servers=servers, seed=seed, failures=failures, on_progress=progress().print
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    raise conclude("webhooks", folder, found)


def report(campaign: WebhookCampaign, verdict: WebhookVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    summary = (
        f"{verdict.events} events to {campaign.subscribers} subscribers in {seconds:.0f} s: "
        f"{verdict.deliveries} deliveries, {verdict.repeated} requests repeated"
    )
    return RunReport(
        tables=[
            summary,
            counted(campaign.injected),
            counted(verdict.failures),
            *listed(verdict.unexplained),
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
