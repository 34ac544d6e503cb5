"""``izin evidence``: one archive about a recipient, and its verification without the ledger.

``izin complaints``: complaints about messages, entered by hand, for İYS has no API for them.
"""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.ledger import topic_anchors
from izin.cli.terminal import (
    AskHistoryOption,
    ByOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    exit_if,
    filled,
    group_with,
    instant,
    is_key,
    kafka_settings,
    normalised,
    print_json,
    print_rows,
    say,
    turkish,
    write_new,
)
from izin.cli.terminal.iys_session import run_at_iys
from izin.cli.terminal.ledger_session import (
    named_brand,
    note_look,
    run_on_ledger,
    topic_messages,
)
from izin.consent import Channel, SourceError
from izin.evidence import collection
from izin.evidence.chain import anchors_of
from izin.evidence.container import read
from izin.evidence.daily_files import check_with
from izin.evidence.verification import verify
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.registry import complaints
from izin.ledger.registry.complaints import Complaint, ComplaintOutcome, NewComplaint
from izin.runtime.masking import mask
from izin.sinks.monitor.anchors import AnchorWitnesses
from izin.views import iys_history
from izin.views.complaints import CLOSED, EvidenceArchive, evidence_archive, listed, state_of
from izin.views.cut import Look, cut_to

_WRITE = "write"
complaints_app = typer.Typer(
    help="Keep complaints about messages, what is due about each, and what became of it.\n\n"
    "İYS has no API for complaints (şikâyet), so they are entered by hand. While one is open, a "
    "legal hold keeps the history of its recipient.",
    no_args_is_help=True,
)

NumberArgument = Annotated[
    int, typer.Argument(metavar="NUMBER", min=1, help="The number of the complaint.")
]


app = typer.Typer(
    help="Collect what is known of a recipient for a complaint, and verify such an archive.\n\n"
    "izin evidence RECIPIENT --brand 100001 … is izin evidence write RECIPIENT ….",
    cls=group_with(_WRITE),
    invoke_without_command=True,
    no_args_is_help=True,
)


@app.command(_WRITE)
def write(
    recipient: Annotated[
        str, typer.Argument(help="Phone number or e-mail address, in any usual notation.")
    ],
    *,
    brand: Annotated[int, typer.Option(min=1, help="Code of the brand at İYS (brandCode).")],
    channel: Annotated[
        Channel | None, typer.Option("--type", help="Only of this channel; without it of all.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="The instant in question (the message's), as 2026-03-02T12:00; Turkish time. "
            "Without it now."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(dir_okay=False, help="The archive (ZIP), a file that must not exist.")
    ],
    reason: Annotated[
        str,
        typer.Option(help="What it is needed for; history and archive keep it.", callback=filled),
    ],
    ask: AskHistoryOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write one archive with everything about a recipient and a brand, and its proof.

    What stood at the instant, consents with notice and evidence, every entry with its place on the
    hash chain, calls and replies, İYS's own history, what subscribers and the gate had, lines of
    İYS's daily files, and a summary in Turkish to print (ozet.html). Only its owner may read the
    file: it is personal data. Who wrote it, and why, is in the history. Exit code 3 if nothing is
    known, 4 if the history is broken or İYS does not answer.
    """
    now = datetime.now(UTC)
    request = collection.EvidenceRequest(
        recipient=_recipient(recipient),
        brand_code=brand,
        channel=channel,
        at=now if at is None else instant(at),
        by=by,
        reason=reason,
    )
    if out.exists():
        raise SourceError(f"{out} exists; name a new file")
    if ask:
        rows = run_on_ledger(lambda ledger: reads.rows(ledger, request.keys))
        run_at_iys(lambda ledger, client: iys_history.ask(ledger, client, rows, by=by))
    made = run_on_ledger(
        lambda ledger: evidence_archive(ledger, topic_messages(), request, now=now),
        look=Look(command="evidence write", by=by, people=[request.recipient]),
    )
    write_new(out, made.content)
    _print_made(made, out, output)


def _print_made(made: EvidenceArchive, out: Path, output: OutputFormat) -> None:
    """Print what was written to ``out``."""
    evidence = made.evidence
    if output is OutputFormat.JSON:
        written = {"file": str(out), "sha256": made.sha256, "rows": len(evidence.rows)}
        print_json(written | {"keys": evidence.header["keys"]})
        return
    say(
        f"{len(evidence.rows)} rows of {len(evidence.header['keys'])} keys are written to {out}",
        f"sha256 {made.sha256}",
        "its newest anchors reach the topic in seconds, and the anchor file within the interval",
    )


@app.command("verify")
def verify_(
    archive: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The archive (ZIP).")
    ],
    *,
    anchors: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="A file of anchors that were published; repeat it for each.",
        ),
    ] = None,
    roots: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            readable=True,
            help="The roots (PEM) that are trusted for the time stamps of İYS's daily files.",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Verify an archive: its files, the links of every row, and published anchors.

    It needs neither ledger nor Kafka; where only izin's libraries are installed, run python -m
    izin.evidence ARCHIVE --anchors FILE. Without roots the time stamps of daily files are
    unverified, which is no fault. Exit code 1 if anything was altered, or if no anchors are given:
    then it proves nothing against whoever made it. Exit code 6 if report and summary were not
    recomputed, for the archive is of another format.
    """
    found = verify(read(archive), anchors_of(anchors or ()), check_with(roots))
    if output is OutputFormat.JSON:
        print_json(asdict(found) | {"proven": found.is_proven})
    else:
        say(*found.lines())
    raise typer.Exit(found.exit_code)


@app.command("anchors")
def anchors_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="A file that must not exist.")
    ],
    *,
    timestamp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A time-stamp authority (RFC 3161) that stamps the newest heads."
        ),
    ] = None,
    post: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An endpoint of others that is sent the lines as well."),
    ] = None,
) -> None:
    """Write the anchors that were published to the topic to a file, for whoever verifies.

    Anchors are hashes and name nobody: hand them out before anybody asks for evidence, for what was
    written before an anchor cannot be changed unnoticed. Sink workers do the same by themselves
    with IZIN_ANCHOR_FILE, IZIN_ANCHOR_TIMESTAMP_URL and IZIN_ANCHOR_URL. Exit code 4 if an
    authority or endpoint does not take them; the file is written then, too.
    """
    found = list(topic_anchors(kafka_settings()))
    write_new(file, "".join(anchor.to_line() for anchor in found).encode())
    say(f"{len(found)} anchors are written to {file}")
    asyncio.run(
        AnchorWitnesses(endpoint=post, token=None, authority=timestamp).reach(
            file, datetime.now(UTC)
        )
    )
    file.with_name(f"{file.name}.sent").unlink(missing_ok=True)


def _recipient(text: str) -> str:
    """Return a recipient as keys spell it; raises SourceError, for a key too."""
    if is_key(text):
        raise SourceError("name the recipient alone; --brand and --type say which keys")
    return normalised(text)


@complaints_app.command()
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
    new = NewComplaint(
        brand_code=brand,
        channel=channel,
        recipient=_recipient(recipient),
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


@complaints_app.command("list")
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
    found = run_on_ledger(lambda ledger: _listed(ledger, customer, brand, closed=closed))
    print_rows(
        output,
        {
            "id": "no.",
            "state": "state",
            "due_at": "due",
            "brand": "brand",
            "channel": "channel",
            "recipient": "recipient",
            "sent_at": "message",
            "reference": "reference",
        },
        [_row(one, now) for one in found],
    )
    exit_if([one for one in found if one.is_overdue(now)])


async def _listed(
    ledger: Ledger, customer: str | None, brand: int | None, *, closed: bool
) -> list[Complaint]:
    cut = await cut_to(ledger, customer, named_brand(brand))
    return await listed(ledger, cut, closed=closed, brand_code=brand)


@complaints_app.command()
def show(
    number: NumberArgument, *, by: ByOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Print a complaint whole. The output is personal data; times are Turkish.

    Who looked is written to the history. Exit code 3 if there is none of this number.
    """
    now = datetime.now(UTC)
    found = run_on_ledger(lambda ledger: _look(ledger, number, by))
    shown = _shown(found, now)
    fields = {
        name.replace("_", " ").removesuffix(" at"): _text(value)
        for name, value in shown.items()
        if value not in (None, (), [])
    }
    # One row: where it does not fit, each field has a line of its own.
    print_rows(output, tuple(fields), [tuple(fields.values())], as_json=shown)


@complaints_app.command()
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
    one = run_on_ledger(lambda ledger: complaints.find(ledger, number))
    path, sha256 = str(archive.absolute()), _digest(archive, one)
    run_on_ledger(
        lambda ledger: complaints.attach(
            ledger, number, path=path, sha256=sha256, by=by, now=datetime.now(UTC)
        )
    )
    say(f"the archive is attached to complaint {number}")


@complaints_app.command()
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
    run_on_ledger(
        lambda ledger: complaints.close(
            ledger, number, outcome=outcome, note=note or None, by=by, now=datetime.now(UTC)
        )
    )
    say(f"complaint {number} is closed: {outcome}")


async def _look(ledger: Ledger, number: int, by: str) -> Complaint:
    """Return a complaint, at whose recipient somebody looks."""
    found = await complaints.find(ledger, number)
    await note_look(ledger, Look(command="complaints show", by=by, people=[found.recipient]))
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
    state = state_of(one, now)
    return f"{state}: {one.outcome}" if state == CLOSED else state


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
