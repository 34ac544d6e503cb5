"""``izin local``: the servers in the foreground, until Ctrl-C.

Exit codes: 0 stopped when asked to, 1 a server could not start or ended, 2 wrong usage or
nothing to start.
"""

import json
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from izin.local.connect import fetch_connect, fetch_plugins, place_plugins
from izin.local.errors import LocalError
from izin.local.servers import LocalServers

_HELP = "Run real servers on this machine: Kafka, PostgreSQL and a schema registry."

app = typer.Typer(help=_HELP, no_args_is_help=True)

_CHECK_INTERVAL = 0.5
_USAGE = 2


class AddressFormat(StrEnum):
    """How addresses are printed."""

    TEXT = "text"
    JSON = "json"


@app.callback(help=_HELP)
def local() -> None:
    """Keep the subcommand's name even where there is one only."""


@app.command()
def start(  # noqa: PLR0913 - an argument an option
    *,
    state_dir: Annotated[
        Path, typer.Option(help="Folder of data and logs.", envvar="IZIN_STATE_DIR")
    ] = Path(".izin"),
    kafka_port: Annotated[int, typer.Option(help="0: any free port.")] = 19092,
    postgres_port: Annotated[int, typer.Option(help="0: any free port.")] = 15432,
    registry: Annotated[
        bool, typer.Option("--registry", help="Start a schema registry (Apicurio) too.")
    ] = False,
    registry_port: Annotated[int, typer.Option(help="0: any free port.")] = 18080,
    output: Annotated[
        AddressFormat, typer.Option(help="Format of the addresses.")
    ] = AddressFormat.TEXT,
) -> None:
    """Start the servers, print their addresses, and run until Ctrl-C.

    What a run stored is there for the next one. A server that the environment already names
    (KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL, SCHEMA_REGISTRY_URL) is not started, and a line says so.
    Exit code 1 if a server cannot start, or ends before it is asked to; 2 if the environment names
    all of them, so that there is nothing to start.
    """
    stop_requested = threading.Event()
    _stop_on_signals(stop_requested)
    servers = LocalServers(
        state_dir,
        kafka_port=kafka_port or None,
        postgres_port=postgres_port or None,
        registry_port=registry_port or None,
        registry=registry,
        on_progress=_report,
    )
    if not servers.servers:
        for line in servers.not_started:
            _report(line)
        _report("nothing is left to start")
        raise typer.Exit(_USAGE)
    with _exit_on_error(), servers:
        _print(servers.environment(), output)
        while not stop_requested.wait(_CHECK_INTERVAL):
            servers.check()


@app.command()
def prepare(
    *,
    registry: Annotated[
        bool, typer.Option("--registry", help="Download the schema registry too.")
    ] = False,
    connect: Annotated[
        bool, typer.Option("--connect", help="Download Kafka Connect and its plugins too.")
    ] = False,
    plugins: Annotated[
        Path | None,
        typer.Option(
            "--connect-plugins",
            metavar="FOLDER",
            help="Download the plugins of Kafka Connect alone, and copy them to this folder.",
        ),
    ] = None,
) -> None:
    """Download what the servers need and start nothing, so that later starts need no network.

    With --connect-plugins there is a folder for a worker's plugin.path (docs/connect.md); what its
    subfolders of the two plugins had is replaced. Exit code 1 if a download fails.
    """
    if plugins is not None:
        with _exit_on_error():
            place_plugins(fetch_plugins(on_progress=_report), plugins, shutil.copyfile)
        return
    servers = LocalServers(Path(), registry=registry, environ={}, on_progress=_report)
    with _exit_on_error():
        for server in servers.servers:
            server.prepare()
        if connect:
            fetch_connect(on_progress=_report)


@contextmanager
def _exit_on_error() -> Iterator[None]:
    try:
        yield
    except LocalError as error:
        _report(str(error))
        raise typer.Exit(1) from None


def _report(message: str) -> None:
    typer.echo(message, err=True)


def _stop_on_signals(stop_requested: threading.Event) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: object) -> None:
        stop_requested.set()
        # A second signal ends the process at once, and the servers end with it.
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, stop)


def _print(addresses: dict[str, str], output: AddressFormat) -> None:
    match output:
        case AddressFormat.JSON:
            typer.echo(json.dumps(addresses))
        case AddressFormat.TEXT:
            for name, address in addresses.items():
                typer.echo(f"export {name}='{address}'")
    sys.stdout.flush()
