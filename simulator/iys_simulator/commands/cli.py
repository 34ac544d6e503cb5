"""The command line `iys-simulator`: every command under its name."""

import typer

from iys_simulator.commands.clock import clock
from iys_simulator.commands.conformance import conformance
from iys_simulator.commands.consents import citizen, write
from iys_simulator.commands.faults import faults
from iys_simulator.commands.requests import requests, reset
from iys_simulator.commands.serve import serve
from iys_simulator.commands.switches import switches

app = typer.Typer(
    help="A simulator of the HTTP API of İYS, Turkey's register of commercial-message consent.",
    no_args_is_help=True,
)
for command in (
    serve,
    conformance,
    clock,
    faults,
    citizen,
    write,
    requests,
    reset,
    switches,
):
    app.command(command.__name__)(command)


def main() -> None:
    """Run the command line."""
    app(prog_name="iys-simulator")
