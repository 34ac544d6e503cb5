"""`iys-simulator requests` and `reset`: what a running simulator responded, and emptying it."""

import json
from typing import Annotated

import typer

from iys_simulator.commands.admin_client import (
    DEFAULT_URL,
    AdminClient,
    BaseUrl,
    Output,
    OutputOption,
    print_facts,
    print_json,
    print_table,
)

Row = dict[str, object]


def requests(
    *,
    log: Annotated[bool, typer.Option("--log", help="List the latest calls one by one.")] = False,
    operation: Annotated[
        str | None, typer.Option(help="Only calls of this operation (with --log).")
    ] = None,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Count responses by operation, HTTP status and H-code, or list the calls one by one."""
    if operation is not None and not log:
        raise typer.BadParameter("--operation needs --log")
    with AdminClient(base_url) as admin:
        if log:
            query = {"operation": operation} if operation else {}
            lines = admin.get("requests/log", query).text.splitlines()
            titles = ("sequence", "occurredAt", "milliseconds", "operation", "status", "codes")
            _print_rows([json.loads(line) for line in lines], titles, output)
            return
        counts = admin.get("requests").json()
    match output:
        case Output.JSON:
            print_json(counts)
        case Output.TABLE:
            rows = [{"operation": name, **row} for name, row in counts["operations"].items()]
            _print_rows(rows, ("operation", "total", "statuses", "codes"), output)


def reset(
    *,
    execute: Annotated[
        bool, typer.Option("--execute", help="Do it; without, only show what there is.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="Accounts, brands and push addresses too.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of random choices from now on.")] = None,
    base_url: BaseUrl = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete registers, batches, counters, log, limits and fault rules, and reset the clock."""
    with AdminClient(base_url) as admin:
        if execute:
            body: Row = {"everything": everything}
            admin.post("reset", body if seed is None else {**body, "seed": seed})
        print_facts({**admin.get("health").json(), "done": execute}, output)
    if not execute:
        typer.echo("nothing was changed; --execute deletes it", err=True)


def _print_rows(rows: list[Row], titles: tuple[str, ...], output: Output) -> None:
    match output:
        case Output.JSON:
            print_json(rows)
        case Output.TABLE:
            print_table(titles, [[_cell(row[title]) for title in titles] for row in rows])


def _cell(value: object) -> object:
    match value:
        case dict():
            return ", ".join(f"{name}: {count}" for name, count in value.items())
        case list():
            return ", ".join(str(part) for part in value)
        case _:
            return value
