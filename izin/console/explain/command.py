"""``izin explain``: everything that ever happened to a recipient, in the order in which we learnt
it.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from izin.console.brands.parked import cure_of_parked
from izin.console.explain.history import HAPPENED, happened, heading, kept_from, standing
from izin.console.terminal.arguments import normalised
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    err,
    out,
    print_json,
    print_rows,
    told,
)
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import brands, reads, suspensions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from izin.sinks.ledger.reads import History


def explain(
    recipient: Annotated[
        str, typer.Argument(help="Phone or e-mail in any usual notation, or a canonical key.")
    ],
    *,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print how a recipient stands, and every event, decision, İYS call, answer and delivery.

    Exit code 1 where nothing is known, 3 where the recipient cannot be read. The output is personal
    data.
    """
    with told():
        history, kept = asyncio.run(_history(LedgerSettings(), normalised(recipient)))
    if not history.entries and not history.facts:
        err.print("nothing is known of this recipient")
        raise typer.Exit(ExitCode.WRONG)
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "standing": [
                        asdict(one) | {"kept": kept.get(one.key)} for one in history.entries
                    ],
                    "happened": [asdict(one) for one in history.facts],
                }
            )
        case OutputFormat.TABLE:
            _show(history, kept)


def _show(history: History, kept: Mapping[str, str]) -> None:
    """Print a section a key: how it stands, then what happened to it."""
    for entry in history.entries:
        out.print(Text(heading(entry.key), "bold"))
        stands = Table.grid(padding=(0, 2))
        for question, answer in standing(entry, kept.get(entry.key)):
            stands.add_row(Text(question, "dim"), Text(answer))
        out.print(stands)
        if entry.state == "parked":
            cure = cure_of_parked(entry.brand_code, entry.why)
            out.print(Text(f"to go on: {cure}"), soft_wrap=True)
        facts = [one for one in history.facts if one.key == entry.key]
        print_rows(OutputFormat.TABLE, HAPPENED, happened(facts))


async def _history(settings: LedgerSettings, recipient: str) -> tuple[History, dict[str, str]]:
    """Return everything of a recipient, and what keeps which of its keys from İYS."""
    async with open_ledger(settings) as ledger:
        history = await reads.history(ledger, recipient)
        known = {one.brand_code: one for one in await brands.every(ledger)}
        found = await suspensions.stops(ledger)
    kept = {
        one.key: words
        for one in history.entries
        if (words := kept_from(one, known.get(one.brand_code), found))
    }
    return history, kept
