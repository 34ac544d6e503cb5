"""`iys-simulator clock`: show or change the time of a running simulator."""

from typing import Annotated

import typer

from iys_simulator.commands.admin_client import (
    DEFAULT_URL,
    AdminClient,
    BaseUrl,
    Output,
    OutputOption,
    print_facts,
)


def clock(
    *,
    now: Annotated[
        str | None, typer.Option(help="Set: YYYY-MM-DD HH:MM:SS in Turkish time, or ISO 8601.")
    ] = None,
    advance: Annotated[float | None, typer.Option(help="Move by this many seconds.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Simulated seconds per real second; 0 stops the clock.")
    ] = None,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the simulator's time, or set it, move it, change its speed.

    Limits, batches, tokens and pull windows follow this time.
    """
    options = {"now": now, "advance": advance, "speed": speed}
    body = {name: value for name, value in options.items() if value is not None}
    with AdminClient(base_url) as admin:
        response = admin.post("clock", body) if body else admin.get("clock")
    print_facts(response.json(), output)
