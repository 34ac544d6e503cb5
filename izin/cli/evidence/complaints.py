"""``izin complaints``: complaints about messages, entered by hand, for İYS has no API for them."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.terminal import (
    ByOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    filled,
    instant,
    is_key,
    normalised,
    print_json,
    print_rows,
    say,
    turkish,
)
from izin.cli.terminal.ledger_session import Look, record_look, run_cut, run_on_ledger
from izin.consent import Channel, SourceError
from izin.evidence.container import read
from izin.evidence.verification import verify
from izin.ledger.db import Ledger
from izin.ledger.registry import complaints
from izin.ledger.registry.complaints import Complaint, ComplaintOutcome, NewComplaint
from izin.runtime.masking import mask

app = typer.Typer(
    help="Keep complaints about messages, what is due about each, and what became of it.\n\n"
    "İYS has no API for complaints (şikâyet), so they are entered by hand. While one is open, a "
    "legal hold keeps the history of its recipient.",
    no_args_is_help=True,
)

NumberArgument = Annotated[
    int, typer.Argument(metavar="NUMBER", min=1, help="The number of the complaint.")
]
_COLUMNS = {
    "id": "no.",
    "state": "state",
    "due_at": "due",
    "brand": "brand",
    "channel": "channel",
    "recipient": "recipient",
    "sent_at": "message",
    "reference": "reference",
}


@app.command()
def add(
    recipient: Annotated[
        str, typer.Argument(help="Phone number or e-mail address, in any usual notation.")
    ],
    *,
    brand: Annotated[int, typer.Option(min=1, help="Code of the brand at İYS (brandCode).")],
    channel: Annotated[Channel, typer.Option("--type", help="The channel of the message.")],
    sent: Annotated[
        str,
        typer.Option(help="When the message was sent, by the complaint: 2026-03-02T12:00."),
    ],
    sender: Annotated[
        str, typer.Option(help="The name or number that the message shows.", callback=filled)
    ],
    content: Annotated[str, typer.Option(help="What the message says.", callback=filled)],
    due: Annotated[
        str | None,
        typer.Option(help="By when the request says it is to be answered: 2026-03-16T17:00."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option("--file-number", help="The number of the file at the authority."),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Enter a complaint, and keep the history of its recipient while it is open.

    Times are Turkish. The day by which it is due is the request's own; without --due none is
    assumed. Who entered it is written to the history, without the recipient. Exit code 3 if the
    brand is not registered.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        if is_key(recipient):
            raise SourceError("name the recipient alone; --brand and --type say which key")
        new = NewComplaint(
            brand_code=brand,
            channel=channel,
            recipient=normalised(recipient),
            sent_at=instant(sent),
            sender=sender,
            content=content,
            reference=reference or None,
            due_at=None if due is None else instant(due),
        )
        added = run_on_ledger(lambda ledger: complaints.add(ledger, new, by=by, now=now))
    if output is OutputFormat.JSON:
        print_json(_shown(added, now))
        return
    say(f"complaint {added.id} is entered; its evidence: izin evidence … --at {sent} --out FILE")
    if added.due_at is None:
        say("it names no day by which it is to be answered: none is assumed")


@app.command("list")
def list_(
    *,
    customer: OneCustomerOption = None,
    brand: Annotated[int | None, typer.Option(min=1, help="Only of this brand.")] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Those that are closed too.")] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the open complaints: overdue ones first, then by what is due next.

    Recipients are masked; izin complaints show has them. Exit code 1 if any is overdue.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        found = run_cut(
            customer,
            lambda ledger: complaints.every(ledger, closed=closed, brand_code=brand),
            attrgetter("brand_code"),
            only=None if brand is None else [brand],
        )
    print_rows(output, _COLUMNS, [_row(one, now) for one in found])
    exit_if([one for one in found if one.is_overdue(now)])


@app.command()
def show(
    number: NumberArgument, *, by: ByOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Print a complaint whole. The output is personal data; times are Turkish.

    Who looked is written to the history. Exit code 3 if there is none of this number.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        found = run_on_ledger(lambda ledger: _look(ledger, number, by))
    if output is OutputFormat.JSON:
        print_json(_shown(found, now))
        return
    fields = dict(_lines(found, now))
    # One row: where it does not fit, each field has a line of its own.
    print_rows(output, tuple(fields), [tuple(fields.values())])


@app.command()
def attach(
    number: NumberArgument,
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE",
            exists=True,
            dir_okay=False,
            readable=True,
            help="The archive of izin evidence.",
        ),
    ],
    *,
    by: ByOption,
) -> None:
    """Attach the archive of evidence that answers a complaint: its path and digest are kept.

    Exit code 3 if there is no such complaint, or the archive is damaged or of another recipient.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        one = run_on_ledger(lambda ledger: complaints.find(ledger, number))
        path, sha256 = str(archive.absolute()), _digest(archive, one)
        run_on_ledger(
            lambda ledger: complaints.attach(
                ledger, number, path=path, sha256=sha256, by=by, now=now
            )
        )
    say(f"the archive is attached to complaint {number}")


@app.command()
def close(
    number: NumberArgument,
    *,
    outcome: Annotated[ComplaintOutcome, typer.Option(help="What became of it.")],
    note: Annotated[str | None, typer.Option(help="More about the outcome.")] = None,
    by: ByOption,
) -> None:
    """Close a complaint with its outcome, and release its legal holds. It is kept for ten years.

    Who closed it is written to the history. Exit code 3 if there is no open one of this number.
    """
    now = datetime.now(UTC)
    with exit_on_error():
        run_on_ledger(
            lambda ledger: complaints.close(
                ledger, number, outcome=outcome, note=note or None, by=by, now=now
            )
        )
    say(f"complaint {number} is closed: {outcome}")


async def _look(ledger: Ledger, number: int, by: str) -> Complaint:
    """Return a complaint, at whose recipient somebody looks."""
    found = await complaints.find(ledger, number)
    await record_look(ledger, Look(command="complaints show", by=by, people=[found.recipient]))
    return found


def _digest(path: Path, one: NewComplaint) -> str:
    """Return the digest of an archive about the recipient and brand of a complaint.

    Raises:
        SourceError: it is damaged, or about others.
    """
    found = verify(read(path), None)
    if found.faults:
        raise SourceError(f"{path}: {found.faults[0]}")
    header = found.header
    if (header["recipient"], header["brand"]["code"]) != (one.recipient, one.brand_code):
        raise SourceError(f"{path} is of another recipient or brand than the complaint")
    return found.sha256


def _state(one: Complaint, now: datetime) -> str:
    if one.closed_at is not None:
        return f"closed: {one.outcome}"
    return "overdue" if one.is_overdue(now) else "open"


def _row(one: Complaint, now: datetime) -> tuple[object, ...]:
    return (
        one.id,
        _state(one, now),
        one.due_at,
        one.brand_code,
        str(one.channel),
        mask(one.recipient),
        one.sent_at,
        one.reference,
    )


def _shown(one: Complaint, now: datetime) -> dict[str, object]:
    return asdict(one) | {"channel": str(one.channel), "state": _state(one, now)}


def _text(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return turkish(value) if isinstance(value, datetime) else str(value)


def _lines(one: Complaint, now: datetime) -> Sequence[tuple[str, str]]:
    shown = _shown(one, now)
    return [
        (
            name.replace("_", " ").removesuffix(" at"),
            _text(value),
        )
        for name, value in shown.items()
        if value not in (None, (), [])
    ]
