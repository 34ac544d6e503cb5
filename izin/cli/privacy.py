"""``izin privacy``: erase what is known of a person, and give a person what is known (6698).

``izin retention``: retention of the history, legal holds, and months that may be dropped.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from operator import attrgetter, itemgetter
from pathlib import Path
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
    exit_if,
    is_key,
    json_text,
    normalised,
    print_found,
    print_rows,
    recipients_in,
    say,
    say_dry_run,
    write_new,
)
from izin.cli.terminal.ledger_session import run_cut, run_on_ledger, topic_messages
from izin.consent import SourceError
from izin.ledger import reads, retention
from izin.ledger.db import Ledger
from izin.ledger.privacy import erasure
from izin.views.cut import Look
from izin.views.recipient import erasable, kept

app = typer.Typer(
    help="Erase what is known of a person, or export it for the person (6698 m.7, m.11).",
    no_args_is_help=True,
)

_GOING_ON = {
    "id": "erasure",
    "customer_id": "customer",
    "requested_at": "requested",
    "acknowledged_at": "streams erased",
    "removed_at": "rows removed",
    "check_at": "looked at again",
}
retention_app = typer.Typer(
    help="Set how long the history is kept, hold it for a case, and drop what has expired.",
    no_args_is_help=True,
)

_SHOWN = 10


@app.command()
def erase(
    recipient: Annotated[
        str | None,
        typer.Argument(help="Phone number or e-mail address, in any usual notation, or a key."),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(help="A text file with a recipient in each line, instead; - for stdin."),
    ] = None,
    customer: OneCustomerOption = None,
    all_customers: Annotated[
        bool, typer.Option("--all-customers", help="What is everybody's: every customer's.")
    ] = False,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Erase a recipient from topics, ledger and state, and say what must stay until when.

    A recipient with a consent that stands, something due to İYS or a legal hold is not erased. Of
    others nothing is left at once but the history, which goes row by row: ten years after the act
    (6563 m.11/3), and three after the consent ended (Yönetmelik m.13). Old opt-ins do not bring an
    erased recipient back. Who ordered it is written to the history. Exit code 1 if something could
    not be erased, 3 if nothing is known.
    """
    if (customer is None) is not all_customers:
        raise typer.BadParameter("say whose: --customer or --all-customers")
    asked = list(_recipients(recipient, file))
    found, wanted = run_on_ledger(
        lambda ledger: _erase(ledger, asked, customer, by, dry=not execute),
        look=Look(command="privacy erase", by=by, people=asked, customer=customer),
    )
    _print(found, output, is_list=file is not None)
    refused = sum(bool(finding.obstacles) for finding in found)
    if refused:
        say(f"{refused} keys cannot be erased now")
    if not wanted:
        say("nothing is erased: there is nothing left of it that can be erased now")
    elif execute:
        numbers = ", ".join(map(str, wanted[:_SHOWN])) + ", …" * (len(wanted) > _SHOWN)
        say(f"{len(wanted)} keys are being erased (erasure {numbers}); see: izin privacy list")
    else:
        say_dry_run(f"{len(wanted)} keys would be erased")
    exit_if(refused)


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the erasures that have not ended; the table names no person."""
    rows = run_cut(customer, erasure.unfinished, itemgetter("customer_id"))
    going_on = run_on_ledger(lambda ledger: erasure.progress(ledger, customer))
    print_rows(output, _GOING_ON, [[row[name] for name in _GOING_ON] for row in rows])
    say(
        f"{going_on.requested} requested, {going_on.waiting} whose rows are being removed, "
        f"{going_on.retained} done but for the history, "
        f"{going_on.erased} with nothing left"
    )


@app.command("export")
def export_(
    recipient: Annotated[
        str, typer.Argument(help="Phone number or e-mail address, in any usual notation.")
    ],
    *,
    customer: OneCustomerOption = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write, a new one; else standard output.")
    ] = None,
    by: ByOption,
) -> None:
    """Write everything that is known of a recipient as JSON, for an access request.

    The output is personal data; the file can be read by its owner only. Who exported it is written
    to the history, with a keyed digest of the recipient (IZIN_SUPPRESSION_SECRETS). Exit code 3 if
    nothing is known.
    """
    wanted = normalised(recipient)
    known = run_on_ledger(
        lambda ledger: erasure.export(ledger, wanted, customer=customer),
        look=Look(command="privacy export", by=by, people=[wanted], customer=customer),
    )
    if not known["keys"] and not known["complaints"]:
        raise SourceError("nothing is known of this recipient")
    text = json_text(known)
    if out is not None:
        write_new(out, text.encode())
        say(f"{len(known['keys'])} keys are written to {out}")
    else:
        typer.echo(text, nl=False)


def _recipients(recipient: str | None, file: Path | None) -> Iterator[str]:
    """Yield the recipients that are given, normalised; raises SourceError with the line."""
    if (recipient is None) == (file is None):
        raise typer.BadParameter("give a recipient, or --file with one in each line")
    if recipient is not None:
        yield normalised(recipient)
    if file is not None:
        yield from recipients_in(file)


def _print(found: Sequence[erasure.ErasureFinding], output: OutputFormat, *, is_list: bool) -> None:
    """Print what was found; of a list only what cannot be erased."""
    rows = [
        (
            finding.key,
            finding.customer_id,
            finding.may_be_erased,
            finding.entries,
            *kept(finding),
            "; ".join(finding.obstacles),
        )
        for finding in found
        if not is_list or finding.obstacles or output is OutputFormat.JSON
    ]
    if rows or not is_list:
        print_rows(
            output,
            {
                "key": "key",
                "customer": "customer",
                "erasable": "erasable",
                "history": "history rows",
                "kept_until": "kept until",
                "article": "by",
                "why": "why not",
            },
            rows,
            below=True,
        )


async def _erase(
    ledger: Ledger, recipients: Sequence[str], customer: str | None, by: str, *, dry: bool
) -> tuple[tuple[erasure.ErasureFinding, ...], Sequence[object]]:
    """Return what was found, and the keys that would be erased, or the numbers of the erasures."""
    found = await erasable(ledger, recipients, customer)
    wanted = [one.key for one in found if one.may_be_erased]
    if dry or not wanted:
        return found, wanted
    now = datetime.now(UTC)
    return found, await erasure.request(ledger, topic_messages(), wanted, by=by, now=now)


@retention_app.command("list")
def list_months(*, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the months of history, with the end of retention and the legal holds of each."""
    _print_months(run_on_ledger(retention.months), output)


@retention_app.command("set")
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
    run_on_ledger(
        lambda ledger: retention.retain(ledger, first, until=last, by=by, now=datetime.now(UTC))
    )
    say(change)


@retention_app.command()
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


@retention_app.command()
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
    print_found(output, ("id", "customer_id", "key", "reason", "since"), found)


@retention_app.command()
def release(
    number: Annotated[int, typer.Argument(help="The number of the hold.")], *, by: ByOption
) -> None:
    """Release a legal hold.

    Who released it is written to the history. Exit code 3 if there is none of that number.
    """
    if not run_on_ledger(
        lambda ledger: retention.release(ledger, number, by=by, now=datetime.now(UTC))
    ):
        raise SourceError(f"no hold {number} is in force; see: izin retention holds")
    say(f"hold {number} is released")


@retention_app.command()
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
        {
            "month": "month",
            "retain_until": "kept until",
            "kept_by": "by",
            "bytes": "bytes",
            "holds": "legal holds",
        },
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
    async with ledger.transaction() as connection:
        keys = await retention.keys_of(connection, customer, asked)
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
