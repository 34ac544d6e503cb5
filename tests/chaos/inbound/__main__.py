"""``python -m tests.chaos.inbound``: the long campaign; ``make chaos STAGE=inbound FAULTS=…``.

Some hundred citizens opt in and out at İYS, which pushes to two sinks and shows it to the one that
pulls. The sinks and the order worker are killed, broker and database restart, pushes are lost,
doubled, reordered and repeated.

It ends with the lines ``inbound-missing``, ``inbound-double`` and ``inbound-registered``, ``ok`` or
``short``. Exit codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.bars import bars_of
from benchmarks.results import RunReport, progress, publish
from izin.local import Kafka, Postgres, free_port
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.chaos.inbound.campaign import InboundCampaign
from tests.chaos.inbound.verdict import InboundVerdict
from tests.support.simulator import running_simulator

_SHOWN = 20

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
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    with (
        Kafka(folder, free_port()) as kafka,
        Postgres(folder, port=free_port()) as postgres,  # they come back under the same ports
        running_simulator(folder) as simulator,
    ):

        def restart_broker() -> None:
            kafka.stop()
            kafka.start()

        def restart_database() -> None:
            postgres.stop()
            postgres.start()

        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=4)
        ensure_topics(settings)
        campaign = InboundCampaign(
            settings=settings,
            database_url=postgres.url,
            simulator=simulator,
            folder=folder,
            seed=seed,
            citizens=citizens,
            rate=rate,
            restart_broker=restart_broker,
            restart_database=restart_database,
            on_progress=progress().print,
        )
        verdict = asyncio.run(campaign.run(faults))
    found = report(campaign, verdict, seconds=time.monotonic() - began)
    bars = [bar.name for bar in bars_of("chaos-inbound")]
    raise typer.Exit(publish(found, bars=bars, results=folder / "result.json"))


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
            ", ".join(f"{count} × {kind}" for kind, count in campaign.injected.most_common()),
            *(f"  {one}" for one in wrong[:_SHOWN]),
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
