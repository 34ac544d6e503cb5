"""``python -m tests.chaos.inbound``: the long campaign; ``make chaos STAGE=inbound FAULTS=…``.

Some hundred citizens opt in and out at İYS, which pushes to two sinks and shows it to the one that
pulls. The sinks and the order worker are killed, broker and database restart, pushes are lost,
doubled, reordered and repeated.

It ends with the lines ``inbound-missing``, ``inbound-double`` and ``inbound-registered``, ``ok`` or
``short``. Exit codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport, progress
from tests.chaos.command import conclude, counted, empty, listed
from tests.chaos.inbound.campaign import InboundCampaign
from tests.chaos.inbound.verdict import InboundVerdict
from tests.chaos.servers import running_servers

app = typer.Typer(add_completion=False, help="Faults on what İYS reports, and what came of them.")


@app.command()
def main(
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 100,
    citizens: Annotated[int, typer.Option(min=10, help="Who opt in and out at İYS.")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="Acts a second.")] = 20,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-inbound"),
) -> None:
    """Inject faults while citizens act at İYS, then compare history and ledger with İYS."""
    empty(folder)
    began = time.monotonic()
    with running_servers(folder, partitions=4) as servers:
        campaign = InboundCampaign(
            servers=servers,
            seed=seed,
            citizens=citizens,
            rate=rate,
            on_progress=progress().print,
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    raise conclude("inbound", folder, found)


def report(campaign: InboundCampaign, verdict: InboundVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    wrong = [
        *(f"missing: {one}" for one in verdict.missing),
        *(f"double: {one}" for one in verdict.double),
        *verdict.differing,
    ]
    summary = (
        f"{verdict.movements} movements of {campaign.citizens} citizens in {seconds:.0f} s, "
        f"{verdict.decisions} decisions on them"
    )
    return RunReport(
        tables=[
            summary,
            counted(campaign.injected),
            *listed(wrong),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "faults": campaign.injected,
            **asdict(verdict),
        },
        figures={
            "inbound-missing": len(verdict.missing),
            "inbound-double": len(verdict.double),
            "inbound-registered": len(verdict.differing),
        },
        failures=verdict.failed if verdict.movements else [*verdict.failed, "nobody acted"],
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.inbound")
