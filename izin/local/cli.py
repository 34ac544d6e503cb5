"""`python -m izin.local`: the servers in the foreground, until Ctrl-C.

Exit codes: 0 stopped when asked to, 1 a server could not start or died, 2 wrong usage.
"""

import json
import signal
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from izin.local.errors import LocalError
from izin.local.servers import House

app = typer.Typer(
    help="Real servers on this machine: Kafka, PostgreSQL and a schema registry.",
    no_args_is_help=True,
)

_LOOK_EVERY = 0.5


class Output(StrEnum):
    """How addresses are printed."""

    TEXT = "text"
    JSON = "json"


@app.callback()
def local() -> None:
    """Real servers on this machine: Kafka, PostgreSQL and a schema registry."""


@app.command()
def start(  # noqa: PLR0913 - an argument an option
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Where data and logs are kept.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin"),
    kafka_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 19092,
    postgres_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 15432,
    registry: Annotated[bool, typer.Option("--registry", help="Start Apicurio too.")] = False,
    registry_port: Annotated[int, typer.Option(help="0 takes any free one.")] = 18080,
    output: Annotated[Output, typer.Option(help="How the addresses are printed.")] = Output.TEXT,
) -> None:
    """Start the servers, print their addresses, and stay until Ctrl-C.

    A server whose address the environment names already is not started.
    """
    asked_to_stop = threading.Event()
    _listen_for_signals(asked_to_stop)
    house = House(
        state_dir,
        kafka_port=kafka_port or None,
        postgres_port=postgres_port or None,
        registry_port=registry_port or None,
        registry=registry,
        on_progress=_tell,
    )
    try:
        with house:
            _print(house.environment(), output)
            _stay(house, asked_to_stop)
    except LocalError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


@app.command()
def prepare(
    *,
    registry: Annotated[bool, typer.Option("--registry", help="Apicurio's archive too.")] = False,
) -> None:
    """Bring what the servers need and leave none running: for a first run without surprises."""
    house = House(Path(), registry=registry, environ={}, on_progress=_tell)
    try:
        for server in house.servers:
            server.prepare()
    except LocalError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


def _tell(message: str) -> None:
    typer.echo(message, err=True)


def _listen_for_signals(asked_to_stop: threading.Event) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)

    def ask(_number: int, _frame: object) -> None:
        asked_to_stop.set()
        # Who asks twice wants it now; the servers end with us.
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, ask)


def _print(addresses: dict[str, str], output: Output) -> None:
    match output:
        case Output.JSON:
            typer.echo(json.dumps(addresses))
        case Output.TEXT:
            for name, address in addresses.items():
                typer.echo(f"export {name}='{address}'")
    sys.stdout.flush()


def _stay(house: House, asked_to_stop: threading.Event) -> None:
    """Wait until asked to stop. Raises LocalError when a server is gone before that."""
    while not asked_to_stop.wait(_LOOK_EVERY):
        for server in house.servers:
            if not server.is_alive:
                raise LocalError(f"{server.name} has ended; its log is {server.log}")
