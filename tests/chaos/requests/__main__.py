"""``python -m tests.chaos.requests``: hostile requests; ``make chaos STAGE=requests``.

``CHAOS_ARGS="--requests 900 --quiet 1"`` shortens it; ``--seed``, the API and the number of a
request, which each fault names, make that request again:
``tests.chaos.requests.making.hostile_request``.

Intake, feeds, gate and push receiver each get hostile requests on raw sockets: heads, lengths and
chunks that can be read in two ways, bodies, queries, cursors and keys. Beside them a neighbour's
lawful requests, 50 a second, are measured from when each is due, alone and beside them, three
times. It ends with the lines ``requests``, of the API that got the fewest, ``requests-5xx`` and
``requests-neighbour-p99-ms``, of the API that is slowest, ``ok`` or ``short``. Exit codes: 0 all
hold; 1 one does not, a process ended or answers wrongly, or a request was not answered or was
smuggled; 2 wrong usage.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from benchmarks.worker.probe import latency_table
from tests.chaos.command import conclude, counted, empty, listed, showing
from tests.chaos.requests.apis import Api
from tests.chaos.requests.campaign import ApiVerdict, RequestsCampaign
from tests.chaos.servers import running_servers

app = typer.Typer(add_completion=False, help="Hostile requests beside the requests of a neighbour.")


@app.command()
def main(  # noqa: PLR0917  # options
    requests: Annotated[int, typer.Option(min=1, help="Hostile ones to each API.")] = 20_000,
    rate: Annotated[float, typer.Option(min=1, help="Of them a second, at most.")] = 200.0,
    quiet: Annotated[float, typer.Option(min=0.5, help="Seconds without them, each pair.")] = 8.0,
    pairs: Annotated[
        int, typer.Option(min=1, help="Measurements, the median of which counts.")
    ] = 3,
    only: Annotated[list[Api] | None, typer.Option(help="The API; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="The same requests for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data and logs, and the result.")] = Path(
        ".izin/chaos-requests"
    ),
) -> None:
    """Send hostile requests to each API beside lawful ones, and judge all answers."""
    empty(folder)
    began = time.monotonic()
    with (
        running_servers(folder, partitions=4, heap="1g", java_options=()) as servers,
        showing(f"seed {seed}") as show,
    ):
        campaign = RequestsCampaign(
            settings=servers.settings,
            database_url=servers.database_url,
            simulator=servers.simulator,
            folder=folder,
            seed=seed,
            apis=only or tuple(Api),
            requests=requests,
            rate=rate,
            quiet=quiet,
            pairs=pairs,
            on_progress=show,
        )
        found = asyncio.run(campaign.run())
    raise conclude("requests", folder, report(found, seed=seed, seconds=time.monotonic() - began))


def report(found: Mapping[Api, ApiVerdict], *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    pairs = [pair for one in found.values() for pair in one.pairs]
    summaries = [summary for pair in pairs for summary in (pair.without, pair.beside)]
    faults = [f"{api}: {fault}" for api, one in found.items() for fault in one.answers.faults]
    wrong = [f"{api}: {fault}" for api, one in found.items() for fault in one.answers.wrong]
    return RunReport(
        tables=[
            latency_table(summaries, "A neighbour, due until answered", "API", "requests"),
            f"seed {seed}: {sum(one.sent for one in found.values())} hostile, {seconds:.0f} s",
            *(f"  {api}: {counted(_by_status(one))}" for api, one in found.items()),
            *listed(faults),
            *listed(wrong),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            "p99": {
                api: [[p.without.p99, p.beside.p99] for p in one.pairs]
                for api, one in found.items()
            },
            "statuses": {api: one.answers.statuses for api, one in found.items()},
            "5xx": faults,
            "wrong": wrong,
        },
        figures={
            "requests": min(one.sent for one in found.values()),
            "requests-5xx": len(faults),
            "requests-neighbour-p99-ms": max(one.p99 for one in found.values()),
        },
        failures=[*(fault for one in found.values() for fault in one.failed), *wrong[:1]],
    )


def _by_status(verdict: ApiVerdict) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name, count in verdict.answers.statuses.items():
        status = name.rpartition(" ")[2]
        found[status] = found.get(status, 0) + count
    return found


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.requests")
