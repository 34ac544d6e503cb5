"""``izin retention``: retention of the history, legal holds, and months that may be dropped."""

from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Annotated

import typer

from izin.cli.terminal import (
    ByOption,
    CustomerArgument,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    ReasonOption,
    end_dry_run,
    is_key,
    normalised,
    print_found,
    say,
    say_dry_run,
)
from izin.cli.terminal.ledger_session import Look, run_cut, run_on_ledger, topic_messages
from izin.consent import SourceError
from izin.ledger import reads, retention
from izin.ledger.db import Ledger

app = typer.Typer(
    help="Set how long the history is kept, hold it for a case, and drop what has expired.",
    no_args_is_help=True,
)

_MONTHS = {
    "month": "month",
    "retain_until": "kept until",
    "kept_by": "by",
    "bytes": "bytes",
    "holds": "legal holds",
}
_SHOWN = 10
_HOLDS = ("id", "customer_id", "key", "reason", "since")


@app.command("list")
def list_(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the months of history, with the end of retention and the legal holds of each."""
    found = run_on_ledger(retention.months)
    _print_months(found, output)


@app.command("set")
def set_(
    month: Annotated[str, typer.Argument(help="The month, as 2026-03.")],
    until: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="The last day.")],
    *,
    by: ByOption,
    execute: ExecuteOption = False,
) -> None:
    """Set the end of retention of a month; the default is ten years.

    No month may be dropped sooner (6563 m.11/3), nor while a consent in it stands or ended less
    than three years ago (Yönetmelik m.13). Who ordered it is written to the history. Exit code 3 if
    there is no such month, or the day is too soon.
    """
    last = until.date()
    first = _first_of(month)
    known = {one.month: one for one in run_on_ledger(retention.months)}.get(first)
    if known is None:
        raise SourceError(f"there is no history of {month}; see: izin retention list")
    if last < known.least:
        raise SourceError(
            f"{last} is too soon: records are kept for {retention.YEARS_AT_LEAST} years "
            f"(6563 m.11/3), those of {month} until {known.least} at least"
        )
    change = f"{month}: kept until {known.retain_until} -> {last}"
    if last == known.retain_until:
        say(f"{month} is kept until {last} already")
        return
    end_dry_run(change, execute=execute or last > known.retain_until)
    now = datetime.now(UTC)
    run_on_ledger(lambda ledger: retention.retain(ledger, first, until=last, by=by, now=now))
    say(change)


@app.command()
def hold(
    customer: CustomerArgument,
    *,
    reason: ReasonOption,
    recipient: Annotated[
        str | None,
        typer.Option(help="Only of this recipient, in any usual notation, or of this key."),
    ] = None,
    by: ByOption,
) -> None:
    """Place a legal hold: nothing of a customer, or of one of its keys, is dropped.

    Whole months are dropped, in order, so a hold keeps its month and all that follow. Who
    placed it is written to the history. Exit code 3
    if the ledger does not know the customer or the key.
    """
    held = None if recipient is None else normalised(recipient)
    numbers = run_on_ledger(lambda ledger: _hold(ledger, customer, held, reason, by))
    for number, what in numbers.items():
        say(f"hold {number}: nothing of {what} is dropped until izin retention release {number}")


@app.command()
def holds(
    *,
    customer: OneCustomerOption = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the legal holds.

    The output is personal data: who looked is written to the history.
    """
    found = run_cut(
        customer,
        retention.holds,
        attrgetter("customer_id"),
        look=Look(command="retention holds", by=by, customer=customer),
    )
    print_found(output, _HOLDS, found)


@app.command()
def release(
    number: Annotated[int, typer.Argument(help="The number of the hold.")], *, by: ByOption
) -> None:
    """Release a legal hold.

    Who released it is written to the history. Exit code 3 if there is none of that number.
    """
    now = datetime.now(UTC)
    if not run_on_ledger(lambda ledger: retention.release(ledger, number, by=by, now=now)):
        raise SourceError(f"no hold {number} is in force; see: izin retention holds")
    say(f"hold {number} is released")


@app.command()
def drop(
    *,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Drop the months whose time has passed, oldest first; never the current one.

    A month stays while a consent in it stands, or ended less than three years ago.

    The last links of the hash chain are kept and anchored, and izin ledger verify continues from
    them once the anchors are published. Who dropped a month is written to the remaining history.
    """
    found = run_on_ledger(lambda ledger: _drop(ledger, by, dry=not execute))
    _print_months(found, output)
    if not found:
        say("nothing can be dropped")
    elif execute:
        say(f"{len(found)} months of history are dropped")
    else:
        say_dry_run(f"{len(found)} months of history would be dropped")


def _print_months(found: tuple[retention.Month, ...], output: OutputFormat) -> None:
    print_found(
        output,
        _MONTHS,
        found,
        month=lambda one: f"{one.month:%Y-%m}",
        holds=lambda one: _some(one.holds),
    )


def _some(holds: tuple[int, ...]) -> str:
    """Return the numbers of legal holds, not all of very many."""
    more = f" and {len(holds) - _SHOWN} more" if len(holds) > _SHOWN else ""
    return ", ".join(map(str, holds[:_SHOWN])) + more


def _first_of(month: str) -> date:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise SourceError(f"{month} is no month such as 2026-03") from None


async def _hold(
    ledger: Ledger, customer: str, key: str | None, why: str, by: str
) -> dict[int, str]:
    """Hold a customer, a key or every key of a recipient; return what each hold covers."""
    now = datetime.now(UTC)
    if not await retention.knows(ledger, customer):
        raise SourceError(f"the ledger knows no customer {customer}; see: izin brands list")
    if key is None:
        number = await retention.hold(ledger, customer, key=None, reason=why, by=by, now=now)
        return {number: customer}
    asked = (key,) if is_key(key) else (await reads.keys_of(ledger, [key]))[key]
    keys = await retention.keys_of(ledger, customer, asked)
    if not keys:
        raise SourceError(f"{customer} has no key {key} in the ledger; see: izin explain")
    return {
        await retention.hold(ledger, customer, key=one, reason=why, by=by, now=now): one
        for one in keys
    }


async def _drop(ledger: Ledger, by: str, *, dry: bool) -> tuple[retention.Month, ...]:
    now = datetime.now(UTC)
    if dry:
        return await retention.expired(ledger, today=now.date())
    return await retention.drop(ledger, topic_messages(), by=by, now=now)
