"""`python -m tests.chaos.sink`: the long campaign on the sinks; `make chaos STAGE=sink FAULTS=…`.

Half an hour of eight processes that end and come back thirty times:
`make chaos STAGE=sink FAULTS=30 MINUTES=30 CHAOS_ARGS="--workers 8 --restarts"`.

Exit codes: 0 every promise was kept, 1 one was broken, 2 wrong usage.
"""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from izin.local import Kafka, Postgres
from izin.runtime.settings import KafkaSettings
from tests.chaos.sink.campaign import RESTARTS, WEIGHTS, Campaign
from tests.chaos.sink.processes import Iys
from tests.chaos.sink.test_campaign import until_healthy
from tests.chaos.sink.verdict import Verdict

app = typer.Typer(add_completion=False, help="Faults on the sinks, and what came of them.")


@app.command()
def run(  # noqa: PLR0917 - an option is an argument
    faults: Annotated[int, typer.Option(min=1, help="How many fall.")] = 120,
    keys: Annotated[int, typer.Option(min=1, help="How many people say yes and no.")] = 300,
    seed: Annotated[int, typer.Option(help="The same draws for the same seed.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Sink processes.")] = 3,
    minutes: Annotated[
        float, typer.Option(min=0, help="Over how long they fall; 0: as fast as they can.")
    ] = 0,
    restarts: Annotated[
        bool, typer.Option("--restarts", help="Only end processes; no weather, no freezing.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last run, and its result.")
    ] = Path(".izin/chaos-sink"),
) -> None:
    """Strike the sinks, their database and their calls so often, let all settle, then judge."""
    console = Console(highlight=False)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port, database_port = free_port(), free_port()
    command = [sys.executable, "-m", "izin.simulator", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with (
        Kafka(folder) as kafka,
        Postgres(folder, port=database_port) as postgres,
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as simulator,
    ):
        try:
            until_healthy(address)
            settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=6)

            def restart() -> None:
                postgres.stop()
                postgres.start()

            campaign = Campaign(
                settings=settings,
                database_url=postgres.url,
                iys=Iys(address=address),
                log=folder / "sinks.log",
                keys=keys,
                seed=seed,
                workers=workers,
                kinds=RESTARTS if restarts else WEIGHTS,
                seconds=minutes * 60,
                restart_database=restart,
            )
            began = time.monotonic()
            found = asyncio.run(campaign.run(faults))
        finally:
            simulator.kill()
    _tell(console, folder, campaign, found, seconds=time.monotonic() - began)
    if found.faults:
        raise typer.Exit(1)


def free_port() -> int:
    """Return a port that nothing listens on; the database comes back under it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _tell(
    console: Console, folder: Path, campaign: Campaign, found: Verdict, *, seconds: float
) -> None:
    struck = Counter(str(fault) for _, fault, _ in campaign.strikes)
    result = {
        "seed": campaign.seed,
        "seconds": round(seconds),
        "workers": campaign.workers,
        "faults_struck": dict(struck),
        "strikes": [f"{at:7.1f} s  {whom:<10} {fault}" for at, fault, whom in campaign.strikes],
        "keys": found.keys,
        "movements": found.movements,
        "calls": found.calls,
        "token_calls": found.token_calls,
        "h084": found.silences,
        "h124": found.throttles,
        "missed": found.missed,
        "unexplained": list(found.faults),
    }
    text = json.dumps(result, ensure_ascii=False, indent=2)
    (folder / "result.json").write_text(f"{text}\n", encoding="utf-8")
    console.print(
        f"{len(campaign.strikes)} faults in {seconds:.0f} s on {campaign.workers} sink processes: "
        f"{found.keys} keys, {found.movements} movements, {found.calls} calls, "
        f"{found.token_calls} token calls, {found.silences} × H084, {found.throttles} × H124, "
        f"{found.missed} terms missed, "
        f"{len(found.faults)} unexplained"
    )
    for one in found.faults[:20]:
        console.print(f"  {one}")
    console.print(f"kept in {folder / 'result.json'}")


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.sink")
