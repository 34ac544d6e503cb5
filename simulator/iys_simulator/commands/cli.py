"""The command line `iys-simulator`: every command under its name."""

import typer

from iys_simulator.commands import control
from iys_simulator.commands.conformance import conformance
from iys_simulator.commands.serve import serve
from iys_simulator.commands.switches import switches

app = typer.Typer(
    help="A simulator of the HTTP API of İYS, Turkey's register of commercial-message consent.",
    no_args_is_help=True,
)
app.command("serve")(serve)
app.command("conformance")(conformance)
app.command("clock")(control.clock)
app.command("faults")(control.weather)
app.command("citizen")(control.citizen)
app.command("write")(control.write)
app.command("requests")(control.requests)
app.command("reset")(control.reset)
app.command("switches")(switches)


def main() -> None:
    """Run the command line."""
    app(prog_name="iys-simulator")
