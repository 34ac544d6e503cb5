"""``izin sequences``: numbered events of an origin that never arrived."""

from datetime import UTC, datetime
from operator import attrgetter
from typing import Annotated

import typer

from izin.cli.terminal import (
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    exit_if,
    kafka_settings,
    print_found,
    say,
    say_dry_run,
)
from izin.cli.terminal.ledger_session import run_cut, run_on_ledger
from izin.consent import SourceError
from izin.ledger import sequences

app = typer.Typer(
    help="Find events that an origin (one of your systems) has numbered and that never arrived.",
    no_args_is_help=True,
)

_COLUMNS = {
    "customer_id": "customer",
    "origin": "origin",
    "numbers": "missing",
    "gaps": "gaps",
    "first_number": "first",
    "since": "since",
    "given_up": "given up",
}


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is missing of each origin that misses anything.

    Left out is what may only be late: for five minutes, or in lanes not read to their end. Exit
    code 1 if anything is missing.
    """
    topics = kafka_settings().topics
    found = run_cut(
        customer,
        lambda ledger: sequences.missing(ledger, topics),
        attrgetter("customer_id"),
    )
    print_found(output, _COLUMNS, found)
    exit_if(found)


@app.command()
def close(
    *,
    customer: Annotated[str, typer.Option(help="The customer who owns the origin.")],
    origin: Annotated[str, typer.Option(help="Of this origin, as izin sequences list names it.")],
    up_to: Annotated[int, typer.Option(help="The last number to close.")],
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Declare missing numbers of an origin unused, so that they are no longer reported.

    This confirms that no event had them: database sequences skip numbers when a transaction is
    rolled back. Who declared it is written to the history. Exit code 3 if nothing is
    missing up to that number.
    """
    count = run_on_ledger(
        lambda ledger: sequences.close(
            ledger, customer, origin, until=up_to, by=by, now=datetime.now(UTC), dry=not execute
        )
    )
    if not count:
        raise SourceError(
            f"{origin} of {customer} misses nothing up to {up_to}; see: izin sequences list"
        )
    if execute:
        say(f"{count} numbers of {origin} of {customer} are closed")
    else:
        say_dry_run(f"{count} numbers of {origin} of {customer} would be closed")
