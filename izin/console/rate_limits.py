"""``izin budgets``: how our addresses stand with İYS, and how much of the hour's calls is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import ExitCode, OutputFormat, OutputOption, print_rows, told
from izin.iys.standing import Standing
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.rate_limits import addresses

if TYPE_CHECKING:
    from izin.sinks.ledger.rate_limits import Address

_COLUMNS = (
    "address",
    "standing",
    "calls_24h",
    "failed_24h",
    "pace",
    "paused_until",
    "token_calls_1h",
    "token_silent_until",
    "status_calls_1h",
)
_TITLES = (
    "address",
    "standing",
    "calls in 24 h",
    "failed",
    "pace",
    "paused until",
    "token calls in 1 h",
    "token silent until",
    "status calls in 1 h",
)


def budgets(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """Show how each egress address stands with İYS: the day's calls and how many of them İYS
    counts against it, its share of the full pace, and the calls of the hour that have a limit.

    Exit code 1 if an address does not stand well: below 80 % success it slows down, below 75 % it
    tells nothing in bulk but what is due within a day.
    """
    with told():
        found = asyncio.run(_addresses(LedgerSettings()))
    print_rows(output, _COLUMNS, [_row(one) for one in found], titles=_TITLES)
    if any(one.standing is not Standing.GOOD for one in found):
        raise typer.Exit(ExitCode.WRONG)


async def _addresses(settings: LedgerSettings) -> tuple[Address, ...]:
    async with open_ledger(settings) as ledger:
        return await addresses(ledger)


def _row(one: Address) -> tuple[object, ...]:
    return (
        one.address,
        str(one.standing),
        one.calls,
        one.failures,
        round(one.factor, 2),
        one.paused_until,
        one.token_calls,
        one.token_silent_until,
        one.status_calls,
    )
