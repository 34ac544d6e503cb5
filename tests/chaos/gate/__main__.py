"""``python -m tests.chaos.gate``: the long campaign; ``make chaos STAGE=gate FAULTS=…``.

Some hundred recipients opt in and out while senders ask two gates about them. The gates, the order
worker and the sink are killed and frozen, the gates are cut off from the broker, the broker is
killed, and the database restarts.

It ends with the lines ``gate-wrong-yes`` and ``gate-yes-at-end``, ``ok`` or ``short``. Exit codes:
0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport, progress
from tests.chaos.command import conclude, counted, empty, listed
from tests.chaos.gate.campaign import GateCampaign
from tests.chaos.gate.processes import GATES
from tests.chaos.gate.verdict import GateVerdict
from tests.chaos.order.network import Network
from tests.chaos.servers import running_servers

app = typer.Typer(add_completion=False, help="Faults on the gate, and what came of them.")


@app.command()
def main(
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 200,
    recipients: Annotated[int, typer.Option(min=10, help="Who opt in and out.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 8,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-gate"),
) -> None:
    """Inject faults into gates, workers and servers while senders ask, then judge every yes."""
    empty(folder)
    began = time.monotonic()
    with (
        Network(GATES, [1]) as network,
        running_servers(folder, partitions=4, network=network) as servers,
    ):
        campaign = GateCampaign(
            servers=servers,
            seed=seed,
            recipients=recipients,
            rate=rate,
            network=network,
            on_progress=progress().print,
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    raise conclude("gate", folder, found)


def report(campaign: GateCampaign, verdict: GateVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    summary = (
        f"{verdict.events} events of {campaign.recipients + campaign.refused} recipients in "
        f"{seconds:.0f} s, {verdict.opt_outs} of them opt-outs, and {verdict.unreadable} opt-outs "
        f"of nobody; {verdict.movements} movements at İYS"
    )
    return RunReport(
        tables=[
            summary,
            counted(campaign.injected),
            f"{sum(verdict.reasons.values())} answers: {counted(verdict.reasons)}",
            f"{verdict.with_token} questions with the token of an opt-out",
            f"no answer: {counted(verdict.failures) or 'never'}",
            f"at the end both gates say yes to {verdict.granted} of {verdict.consenting}",
            *listed(verdict.wrong),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "faults": campaign.injected,
            **asdict(verdict),
        },
        figures={
            "gate-wrong-yes": len(verdict.wrong),
            "gate-yes-at-end": verdict.granted_share,
        },
        failures=verdict.unexplained[:20],
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.gate")
