"""``izin retention``: how long the history is kept, what is held, and what may go."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.brands.parked import ByOption, who
from izin.console.terminal.arguments import filled, is_key, normalised
from izin.console.terminal.ledger_session import open_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    kafka_settings,
    print_rows,
    say,
    told,
)
from izin.runtime.registry import codec
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.history import retention
from izin.sinks.ledger.history.retention import YEARS_AT_LEAST
from izin.sinks.record.messages import Announcer

if TYPE_CHECKING:
    from izin.sinks.ledger.history.retention import Hold, Month

app = typer.Typer(help="How long the history is kept.", no_args_is_help=True)

_MONTHS = ("month", "retain_until", "kept_by", "bytes", "holds")
_MONTH_TITLES = ("month", "kept until", "by", "bytes", "held by")
_HOLDS = ("id", "customer_id", "key", "why", "since")


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the months of history, until when each is kept, and what holds it beyond that."""
    with told():
        found = asyncio.run(_months(LedgerSettings()))
    _print_months(found, output)


@app.command()
def keep(
    month: Annotated[str, typer.Argument(help="The month, such as 2026-03.")],
    until: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The last day.")],
    *,
    by: ByOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Keep it for less long; else it is only told.")
    ] = False,
) -> None:
    """Have a month kept until a day, sooner or later than its ten years.

    What is kept for less long than now is told first, and done with --yes; no month goes sooner
    than three years after its end (Yönetmelik m.13). Who it was stands in the history.
    """
    last = until.date()
    with told():
        first = _first_of(month)
        kept = {one.month: one for one in asyncio.run(_months(LedgerSettings()))}.get(first)
        if kept is None:
            raise SourceError(f"there is no history of {month}; see: izin retention list")
        if last < kept.least:
            raise SourceError(
                f"{last} is too soon: records are kept for {YEARS_AT_LEAST} years (Yönetmelik "
                f"m.13), those of {month} until {kept.least} at least"
            )
        if last == kept.retain_until:
            say(f"{month} is kept until {last} already")
            return
        if last < kept.retain_until and not yes:
            say(f"{month}: kept until {kept.retain_until} -> {last}; add --yes to shorten it")
            return
        asyncio.run(_retain(LedgerSettings(), first, last, by or who()))
    say(f"{month}: kept until {kept.retain_until} -> {last}")


@app.command()
def hold(
    customer: Annotated[str, typer.Argument(help="Whose history.")],
    why: Annotated[str, typer.Option(help="What it is needed for.", callback=filled)],
    key: Annotated[
        str | None,
        typer.Option(
            help="Of one key only, or of a recipient in any usual notation: all its keys."
        ),
    ] = None,
) -> None:
    """Have nothing of a customer, or of one of its keys, dropped: a legal hold.

    Months go whole and in order, so what is held keeps its month and all that follow.
    """
    with told():
        held = None if key is None else normalised(key)
        numbers = asyncio.run(_hold(LedgerSettings(), customer, held, why))
    for number, what in numbers.items():
        say(f"hold {number}: nothing of {what} is dropped until izin retention lift {number}")


@app.command()
def holds(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the legal holds."""
    with told():
        found = asyncio.run(_holds(LedgerSettings()))
    print_rows(output, _HOLDS, [[getattr(one, name) for name in _HOLDS] for one in found])


@app.command()
def lift(number: Annotated[int, typer.Argument(help="The number of the hold.")]) -> None:
    """End a legal hold."""
    with told():
        if not asyncio.run(_lift(LedgerSettings(), number)):
            raise SourceError(f"no hold {number} is in force; see: izin retention holds")
    say(f"hold {number} is lifted")


@app.command()
def drop(
    *,
    by: ByOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only told.")] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Drop the months that nothing keeps any more, the oldest first; never the one that is written.

    The last links of what goes are kept and anchored, and izin ledger verify goes on from them as
    soon as the anchors are told outside. Who dropped a month stands in the history that stays.
    """
    with told():
        found = asyncio.run(_drop(LedgerSettings(), by or who(), dry=not yes))
    _print_months(found, output)
    if not found:
        say("nothing may go")
    elif yes:
        say(f"{len(found)} months of history are gone")
    else:
        say(f"{len(found)} months of history would go; add --yes to do it")


def _print_months(found: tuple[Month, ...], output: OutputFormat) -> None:
    rows = [
        (
            f"{one.month:%Y-%m}",
            one.retain_until,
            one.kept_by,
            one.bytes,
            ", ".join(map(str, one.holds)),
        )
        for one in found
    ]
    print_rows(output, _MONTHS, rows, titles=_MONTH_TITLES)


def _first_of(month: str) -> date:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise SourceError(f"{month} is no month such as 2026-03") from None


async def _months(settings: LedgerSettings) -> tuple[Month, ...]:
    async with open_ledger(settings) as ledger:
        return await retention.months(ledger)


async def _retain(settings: LedgerSettings, month: date, until: date, by: str) -> None:
    async with open_ledger(settings) as ledger:
        await retention.retain(ledger, month, until=until, by=by, now=datetime.now(UTC))


async def _hold(
    settings: LedgerSettings, customer: str, key: str | None, why: str
) -> dict[int, str]:
    """Hold a customer, a key or every key of a recipient; return what each hold holds."""
    now = datetime.now(UTC)
    async with open_ledger(settings) as ledger:
        if not await retention.knows(ledger, customer):
            raise SourceError(f"the ledger knows no customer {customer}; see: izin brands list")
        if key is None:
            return {await retention.hold(ledger, customer, key=None, why=why, now=now): customer}
        asked = (key,) if is_key(key) else await reads.keys_of(ledger, key)
        keys = await retention.keys_of(ledger, customer, asked)
        if not keys:
            raise SourceError(f"{customer} has no key {key} in the ledger; see: izin explain")
        return {
            await retention.hold(ledger, customer, key=one, why=why, now=now): one for one in keys
        }


async def _holds(settings: LedgerSettings) -> tuple[Hold, ...]:
    async with open_ledger(settings) as ledger:
        return await retention.holds(ledger)


async def _lift(settings: LedgerSettings, number: int) -> bool:
    async with open_ledger(settings) as ledger:
        return await retention.lift(ledger, number, now=datetime.now(UTC))


async def _drop(settings: LedgerSettings, by: str, *, dry: bool) -> tuple[Month, ...]:
    now = datetime.now(UTC)
    async with open_ledger(settings) as ledger:
        if dry:
            return await retention.expired(ledger, today=now.date())
        kafka = kafka_settings()
        return await retention.drop(ledger, Announcer(codec(kafka), kafka.topics), by=by, now=now)
