"""``izin up``: the whole house on this machine, until Ctrl-C."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.panel import Panel
from rich.text import Text

from izin.console.local_stack.stack import Delays, LocalStack, Ports, example_brands
from izin.console.terminal.interrupts import raising_on_signals
from izin.console.terminal.output import out, say, told
from izin.local import LocalError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOK_EVERY = 0.5

Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")]


def up(
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Where data and logs are kept.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin/up"),
    kafka_port: Port = 19092,
    postgres_port: Port = 15432,
    registry: Annotated[bool, typer.Option("--registry", help="With a schema registry.")] = False,
    registry_port: Port = 18080,
    intake_port: Port = 8081,
    sink_port: Port = 8082,
    stream_port: Port = 8083,
    simulator_port: Port = 8085,
    result_delay: Annotated[
        float, typer.Option(help="Seconds until İYS's batch results are there (İYS: 300).")
    ] = 5.0,
    hidden_window: Annotated[
        float, typer.Option(help="Seconds that İYS's pull hides (İYS: 3600).")
    ] = 5.0,
) -> None:
    """Start the whole house and keep it up until Ctrl-C; every process it started then stops.

    It begins empty, with two brands: 100001 is active and pushes, 100002 is in first loading. What
    the run before left in --state-dir, ledger and logs among it, is removed.
    """
    _each_its_own(
        {
            "--kafka-port": kafka_port,
            "--postgres-port": postgres_port,
            "--registry-port": registry_port if registry else 0,
            "--intake-port": intake_port,
            "--sink-port": sink_port,
            "--stream-port": stream_port,
            "--simulator-port": simulator_port,
        }
    )
    house = LocalStack(
        state_dir,
        brands=example_brands(),
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
        on_progress=say,
    )
    with suppress(KeyboardInterrupt), raising_on_signals(), told(LocalError), house:
        out.print(_shown(house))
        while True:
            time.sleep(_LOOK_EVERY)
            house.check()


def _each_its_own(ports: Mapping[str, int]) -> None:
    """Refuse one port for two parts, whose health would then be taken for the other's."""
    asked = [port for port in ports.values() if port]
    for port in asked:
        if asked.count(port) > 1:
            both = " and ".join(option for option, given in ports.items() if given == port)
            raise typer.BadParameter(f"{both} both name {port}; give each a port of its own")


def _shown(house: LocalStack) -> Panel:
    environment = house.environment_file
    registry = house.environment.get("SCHEMA_REGISTRY_URL")
    lines = [
        f"intake     {house.intake_url}/v1/consents",
        f"sink       {house.sink_url}/health",
        f"order      {house.stream_url}/health",
        *([f"registry   {registry}"] if registry else []),
        f"İYS's twin {house.simulator_url}/__simulator__/health",
        f"  its page {house.simulator_url}/citizen (approve and reject as a citizen does)",
        f"logs       {house.logs}",
        "",
        "In another terminal (the file also holds the intake's token, IZIN_INTAKE_TOKENS):",
        f"  set -a; . {shlex.quote(str(environment))}; set +a",
        "  izin doctor",
        "  izin publish --brand 100001 --type MESAJ --recipient '0555 000 00 01' \\",
        "      --status ONAY --source HS_WEB",
        "  izin explain '0555 000 00 01'",
        """  TOKEN=$(echo "$IZIN_INTAKE_TOKENS" | tr -d '[]"')""",
        f'  curl {house.intake_url}/v1/consents -H "Authorization: Bearer $TOKEN" \\',
        "      -d telefon=05550000001 -d kanal=SMS -d durum=RET \\",
        "      -d kaynak=HS_WEB -d marka=100001",
    ]
    return Panel(Text("\n".join(lines)), title="izin is up; Ctrl-C stops it", expand=False)
