"""``izin explain``: everything that ever happened to a recipient, in the order we learnt it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from izin.console.brands.remedies import remedy_of_parked
from izin.console.explain.history import (
    DELIVERIES,
    HISTORY,
    delivery_rows,
    heading,
    history_rows,
    state_rows,
    why_suspended,
)
from izin.console.terminal.arguments import normalised
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    exit_on_error,
    out,
    print_json,
    print_rows,
)
from izin.sinks.ledger import brands, reads, suspensions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import History
from izin.sinks.ledger.webhooks import deliveries


def explain(
    recipient: Annotated[
        str,
        typer.Argument(
            help="Phone number or e-mail address in any usual notation, or a canonical key "
            "(brand/channel/recipient type/recipient)."
        ),
    ],
    *,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print the state of a recipient, and every event, decision, call to İYS and reply.

    The output is personal data. Exit code 1 if nothing is known, 3 if the recipient cannot be read.
    """
    with exit_on_error():
        key = normalised(recipient)
        history, suspended, sent = run_on_ledger(lambda ledger: _look(ledger, key))
    if not history.rows and not history.facts:
        err.print("nothing is known of this recipient")
        raise typer.Exit(ExitCode.WRONG)
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "keys": [
                        asdict(one) | {"suspended": suspended.get(one.key)} for one in history.rows
                    ],
                    "history": [asdict(one) for one in history.facts],
                    "deliveries": [dict(one) for one in sent],
                }
            )
        case OutputFormat.TABLE:
            _print(history, suspended, sent)


def _print(
    history: History, suspended: Mapping[str, str], sent: Sequence[Mapping[str, Any]]
) -> None:
    """Print a section a key: its state, its history, and what subscribers took."""
    for entry in history.rows:
        out.print(Text(heading(entry.key), "bold"))
        state = Table.grid(padding=(0, 2))
        for question, answer in state_rows(entry, suspended.get(entry.key)):
            state.add_row(Text(question, "dim"), Text(answer))
        out.print(state)
        if entry.state == "parked":
            remedy = remedy_of_parked(entry.brand_code, entry.reason)
            out.print(Text(f"remedy: {remedy}"), soft_wrap=True)
        keys = {entry.key, *reads.concerned(entry)}
        facts = [one for one in history.facts if one.key in keys]
        print_rows(OutputFormat.TABLE, HISTORY, history_rows(facts))
        if rows := delivery_rows(one for one in sent if one["key"] == entry.key):
            print_rows(OutputFormat.TABLE, DELIVERIES, rows)


async def _look(
    ledger: Ledger, recipient: str
) -> tuple[History, dict[str, str], Sequence[Mapping[str, Any]]]:
    """Return everything of a recipient, by key what suspends it, and what subscribers took."""
    history = await reads.history(ledger, recipient)
    known = {one.brand_code: one for one in await brands.every(ledger)}
    found = await suspensions.every(ledger)
    suspended = {
        one.key: words
        for one in history.rows
        if (words := why_suspended(one, known.get(one.brand_code), found))
    }
    sent = await deliveries.of_keys(ledger, sorted({one.key for one in history.rows}))
    return history, suspended, sent
