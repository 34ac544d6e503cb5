"""``izin privacy``: erase what is known of a person, and give a person what is known (6698)."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.terminal import (
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    exit_if,
    is_key,
    json_text,
    normalised,
    print_rows,
    recipients_in,
    say,
    say_dry_run,
    write_new,
)
from izin.cli.terminal.ledger_session import Look, run_cut, run_on_ledger, topic_messages
from izin.consent import SourceError
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.privacy import erasure

app = typer.Typer(
    help="Erase what is known of a person, or export it for the person (6698 m.7, m.11).",
    no_args_is_help=True,
)

_FOUND = {
    "key": "key",
    "customer": "customer",
    "erasable": "erasable",
    "history": "history rows",
    "kept_until": "kept until",
    "article": "by",
    "why": "why not",
}
_GOING_ON = {
    "id": "erasure",
    "customer_id": "customer",
    "requested_at": "requested",
    "acknowledged_at": "streams erased",
    "removed_at": "rows removed",
    "check_at": "looked at again",
}


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
    found, count = run_on_ledger(
        lambda ledger: _erase(ledger, asked, customer, by, dry=not execute),
        look=Look(command="privacy erase", by=by, people=asked, customer=customer),
    )
    _print(found, output, is_list=file is not None)
    refused = sum(bool(one.obstacles) for one in found)
    if refused:
        say(f"{refused} keys cannot be erased now")
    if execute:
        say(f"{count} keys are being erased; see: izin privacy list")
    else:
        say_dry_run(f"{count} keys would be erased")
    exit_if(refused)


@app.command("list")
def list_(*, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE) -> None:
    """List the erasures that have not ended; the table names no person."""
    rows = run_cut(customer, erasure.unfinished, itemgetter("customer_id"))
    going_on = run_on_ledger(lambda ledger: erasure.progress(ledger, customer))
    print_rows(output, _GOING_ON, [[row[name] for name in _GOING_ON] for row in rows])
    say(
        f"{going_on.requested} requested, {going_on.waiting} waiting for İYS, "
        f"{going_on.retained} with history that is retained, {going_on.erased} erased"
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
            one.key,
            one.customer_id,
            one.may_be_erased,
            one.movements,
            *_kept(one),
            "; ".join(one.obstacles),
        )
        for one in found
        if not is_list or one.obstacles or output is OutputFormat.JSON
    ]
    if rows or not is_list:
        print_rows(output, _FOUND, rows, below=True)


def _kept(one: erasure.ErasureFinding) -> tuple[object, str]:
    """Return until when the history of a key is kept, and by which article."""
    if not one.movements:
        return None, ""
    until, evidence = one.retain_until, one.evidence_until
    if evidence is not None and (until is None or evidence > until):
        return evidence, "Yönetmelik m.13"
    return until, "" if until is None else "6563 m.11/3"


async def _erase(
    ledger: Ledger, recipients: Sequence[str], customer: str | None, by: str, *, dry: bool
) -> tuple[tuple[erasure.ErasureFinding, ...], int]:
    """Return what was found, and how many keys are, or would be, erased."""
    keys = [one for one in recipients if is_key(one)]
    others = [one for one in recipients if not is_key(one)]
    for some in (await reads.keys_of(ledger, others)).values():
        keys += some
    found = tuple(
        one
        for one in await erasure.findings(ledger, keys)
        if one.customer_id and customer in {None, one.customer_id}
    )
    if not found:
        raise SourceError("nothing is known of any recipient given")
    wanted = [one.key for one in found if one.may_be_erased]
    if dry or not wanted:
        return found, len(wanted)
    count = await erasure.request(ledger, topic_messages(), wanted, by=by, now=datetime.now(UTC))
    return found, count
