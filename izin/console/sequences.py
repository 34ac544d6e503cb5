"""``izin sequences``: which numbered events of which origin never came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    kafka_settings,
    print_rows,
    say,
    told,
)
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import sequences

if TYPE_CHECKING:
    from izin.schemas.topics import Topics
    from izin.sinks.ledger.sequences import Missing

app = typer.Typer(help="Events that an origin numbered and never brought.", no_args_is_help=True)

_COLUMNS = ("customer_id", "origin", "numbers", "gaps", "first_number", "since", "given_up")
_TITLES = ("customer", "origin", "missing", "gaps", "the first", "since", "no longer looked for")


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List what is missing of each origin that misses any.

    What is merely late is left out: five minutes, and what waits on lanes not yet read. Exit code 1
    if anything is missing.
    """
    with told():
        found = asyncio.run(_missing(LedgerSettings(), kafka_settings().topics))
    rows = [[getattr(one, name) for name in _COLUMNS] for one in found]
    print_rows(output, _COLUMNS, rows, titles=_TITLES)
    if found:
        raise typer.Exit(ExitCode.WRONG)


@app.command()
def close(
    customer: Annotated[str, typer.Option(help="Whose origin it is.")],
    origin: Annotated[str, typer.Option(help="The origin, as izin sequences list names it.")],
    until: Annotated[int, typer.Option(help="The last number that is looked for no more.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only told.")] = False,
) -> None:
    """Have missing numbers of an origin count as numbers that were never given.

    Who does it vouches that no event bore them: a counter of a database leaves such numbers when it
    takes a transaction back.
    """
    with told():
        count = asyncio.run(_close(LedgerSettings(), customer, origin, until, dry=not yes))
        if not count:
            raise SourceError(
                f"{origin} of {customer} misses nothing up to {until}; see: izin sequences list"
            )
    if yes:
        say(f"{count} numbers of {origin} of {customer} are looked for no more")
    else:
        say(f"{count} numbers of {origin} of {customer} would be closed; add --yes to do it")


async def _missing(settings: LedgerSettings, topics: Topics) -> tuple[Missing, ...]:
    async with open_ledger(settings) as ledger:
        return await sequences.missing(ledger, topics)


async def _close(
    settings: LedgerSettings, customer: str, origin: str, until: int, *, dry: bool
) -> int:
    async with open_ledger(settings) as ledger:
        return await sequences.close(ledger, customer, origin, until=until, dry=dry)
