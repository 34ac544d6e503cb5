"""``izin up``: the whole house on this machine, until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import threading
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel

from izin.console.household import Delays, Household, Ports, brands_of_the_house
from izin.console.output import err, out, told

_PORT = "0 takes any free one."


def up(
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Where data and logs are kept.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin/up"),
    kafka_port: Annotated[int, typer.Option(help=_PORT)] = 19092,
    postgres_port: Annotated[int, typer.Option(help=_PORT)] = 15432,
    registry: Annotated[bool, typer.Option("--registry", help="With a schema registry.")] = False,
    registry_port: Annotated[int, typer.Option(help=_PORT)] = 18080,
    intake_port: Annotated[int, typer.Option(help=_PORT)] = 8081,
    sink_port: Annotated[int, typer.Option(help=_PORT)] = 8082,
    stream_port: Annotated[int, typer.Option(help=_PORT)] = 8083,
    simulator_port: Annotated[int, typer.Option(help=_PORT)] = 8085,
    result_delay: Annotated[
        float, typer.Option(help="Seconds until İYS's batch results are there (İYS: 300).")
    ] = 5.0,
    hidden_window: Annotated[
        float, typer.Option(help="Seconds that İYS's pull hides (İYS: 3600).")
    ] = 5.0,
) -> None:
    """Start the whole house and keep it up until Ctrl-C; every process it started then stops.

    It begins empty, with two brands: 100001 is active and pushes, 100002 is in first loading.
    """
    asked_to_stop = threading.Event()
    _listen_for_signals(asked_to_stop)
    house = Household(
        state_dir,
        brands=brands_of_the_house(),
        ports=Ports(
            kafka=kafka_port or None,
            postgres=postgres_port or None,
            registry=registry_port or None,
            intake=intake_port or None,
            sink=sink_port or None,
            stream=stream_port or None,
            simulator=simulator_port or None,
        ),
        delays=Delays(
            result=timedelta(seconds=result_delay), hidden=timedelta(seconds=hidden_window)
        ),
        registry=registry,
        on_progress=lambda message: err.print(f"[dim]{message}[/dim]", highlight=False),
    )
    with told(), house:
        out.print(_shown(house))
        while not asked_to_stop.wait(0.5):
            house.check()
        err.print("[dim]stopping[/dim]")


def _listen_for_signals(asked_to_stop: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked_to_stop.set())


def _shown(house: Household) -> Panel:
    environment = house.environment_file
    lines = [
        f"intake     {house.intake_url}/v1/consents",
        f"sink       {house.sink_url}/health",
        f"order      {house.stream_url}/health",
        f"İYS's twin {house.simulator_url}/__simulator__/health",
        f"logs       {house.logs}",
        "",
        "In another terminal:",
        f"  set -a; . {shlex.quote(str(environment))}; set +a",
        "  izin doctor",
        "  izin publish --brand 100001 --type MESAJ --recipient '0555 000 00 01' \\",
        "      --status ONAY --source HS_WEB",
        "  izin explain '0555 000 00 01'",
    ]
    return Panel("\n".join(lines), title="izin is up; Ctrl-C stops it", expand=False)
