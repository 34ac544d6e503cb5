"""``izin evidence``: one archive about a recipient, and its verification without the ledger."""

import asyncio
import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from izin.cli.ledger import topic_anchors
from izin.cli.terminal import (
    ByOption,
    OutputFormat,
    OutputOption,
    exit_on_error,
    filled,
    instant,
    is_key,
    kafka_settings,
    normalised,
    print_json,
    say,
    write_new,
)
from izin.cli.terminal.ledger_session import Look, run_on_ledger, topic_messages
from izin.consent import Channel, SourceError
from izin.evidence import collection
from izin.evidence.chain import anchors_of
from izin.evidence.container import read
from izin.evidence.daily_files import check_with
from izin.evidence.verification import Evidence, verify
from izin.ledger.db import Ledger
from izin.sinks.monitor.anchors import AnchorWitnesses

_WRITE = "write"


class EvidenceGroup(TyperGroup):
    """The group ``izin evidence``, of which ``write`` need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
        """Put ``write`` before the arguments, where they begin with no other command."""
        named = {*self.commands, "--help"}
        return super().parse_args(ctx, args if not args or args[0] in named else [_WRITE, *args])


app = typer.Typer(
    help="Collect what is known of a recipient for a complaint, and verify such an archive.\n\n"
    "izin evidence RECIPIENT --brand 100001 … is izin evidence write RECIPIENT ….",
    cls=EvidenceGroup,
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
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write one archive with everything about a recipient and a brand, and its proof.

    What stood at the instant here and at İYS, the consent with its notice and evidence, every
    movement with its place on the hash chain, every call and reply, what subscribers and the gate
    had, the lines of İYS's daily files with hash and time stamp, and a summary in Turkish to print
    (ozet.html). Only its owner may read the file: it is personal data. Who wrote it, and why, is
    written to the history. Exit code 3 if nothing is known, 4 if the history is broken.
    """
    now = datetime.now(UTC)
    with exit_on_error():
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
        look = Look(command="evidence write", by=by, people=[request.recipient])
        evidence, archive = run_on_ledger(lambda ledger: _collect(ledger, request, now), look=look)
        write_new(out, archive)
    sha256 = hashlib.sha256(archive).hexdigest()
    if output is OutputFormat.JSON:
        written = {"file": str(out), "sha256": sha256, "rows": len(evidence.rows)}
        print_json(written | {"keys": evidence.header["keys"]})
        return
    say(f"{len(evidence.rows)} rows of {len(evidence.header['keys'])} keys are written to {out}")
    say(f"sha256 {sha256}")
    say(
        "its newest anchors reach the topic within seconds, and the anchor file within the interval"
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
    with exit_on_error():
        check = check_with(roots)
        found = verify(read(archive), anchors_of(anchors or ()), check)
    if output is OutputFormat.JSON:
        print_json(asdict(found) | {"proven": found.is_proven})
    else:
        for line in found.lines():
            say(line)
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
    with exit_on_error():
        found = list(topic_anchors(kafka_settings()))
        write_new(file, "".join(one.to_line() for one in found).encode())
        say(f"{len(found)} anchors are written to {file}")
        witnesses = AnchorWitnesses(endpoint=post, token=None, authority=timestamp)
        asyncio.run(witnesses.reach(file, datetime.now(UTC)))
        file.with_name(f"{file.name}.sent").unlink(missing_ok=True)


def _recipient(text: str) -> str:
    """Return a recipient as keys spell it; raises SourceError, for a key too."""
    if is_key(text):
        raise SourceError("name the recipient alone; --brand and --type say which keys")
    return normalised(text)


async def _collect(
    ledger: Ledger, request: collection.EvidenceRequest, now: datetime
) -> tuple[Evidence, bytes]:
    """Return the evidence and its archive, whose digest the history has then."""
    evidence = await collection.collect(ledger, topic_messages(), request, now=now)
    archive = evidence.packed()
    sha256 = hashlib.sha256(archive).hexdigest()
    await collection.record(ledger, request, evidence, sha256=sha256, now=now)
    return evidence, archive
