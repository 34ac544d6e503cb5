"""``izin ledger``: verify the history, restore a ledger whose decisions are gone, and encrypt the
secrets in it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.backups import backup, restore_check
from izin.cli.terminal import (
    ByOption,
    ExecuteOption,
    ExitCode,
    OutputFormat,
    OutputOption,
    RootsOption,
    cells,
    exit_if,
    exit_on_signals,
    kafka_settings,
    named,
    print_json,
    print_rows,
    say,
    say_dry_run,
    showing,
    turkish,
    utc_now,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import SourceError
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import codec
from izin.ledger.archive.folder import Archive, verify_archive
from izin.ledger.archive.writer import Archived, ArchiveWriter
from izin.ledger.db import Ledger, living
from izin.ledger.history import verify as chains
from izin.ledger.offsets import Bootstrap, Range
from izin.ledger.record import Anchor, TopicMessages, UnreadableAnchorError
from izin.ledger.stored_secrets import SecretCensus, census, encrypt_all
from izin.ledger.webhooks import deliveries
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.replay.ledger.republish import Republication, Republished
from izin.replay.ledger.restore import LedgerRestoration, Restorable, Restored
from izin.runtime.errors import BrokerError, SettingError
from izin.runtime.settings import KafkaSettings, LedgerSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.timestamps import roots_in
from izin.sinks.ingest.bootstrap import Bootstrapper

app = typer.Typer(
    help="Check and restore the ledger, the database of record.", no_args_is_help=True
)

app.command()(backup)
app.command("restore-check")(restore_check)

_COLUMNS = ("shard", "after", "place", "what")
_SKEW = timedelta(minutes=1)
"""By how much this clock and that of the processes that deliver may differ."""
_OF_DELIVERIES = ("batch", "place", "what")
AnchorsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--anchors",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A file of anchors (IZIN_ANCHOR_FILE); repeat it for each.",
    ),
]
TopicOption = Annotated[
    bool, typer.Option("--topic/--no-topic", help="Check the anchors in the topic too.")
]
_ARCHIVED = ("rows", "files", "rewritten", "removed")


@app.command()
def verify(
    *,
    anchors: AnchorsOption = None,
    roots: RootsOption = None,
    topic: TopicOption = True,
    archive: Annotated[
        Path | None,
        typer.Option(file_okay=False, exists=True, help="Verify this archive, without the ledger."),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Recompute the hash chains of the history; name each row changed, moved, added or removed.

    Anchors are hashes stored outside the ledger, in a topic and in the files given: what was
    written before one cannot be changed unnoticed. Deliveries of webhooks are compared with their
    digests in the history; an archive has none. That rows were dropped or emptied counts only with
    an anchor at or behind them that was time-stamped ten years ago (--roots). Exit code 1 if
    anything is wrong, 6 if nothing is, but something dropped or emptied is not provable.
    """
    known = _known_anchors(anchors, topic=topic, roots=roots)
    if archive is None:
        found, sent = run_on_ledger(lambda ledger: _verify(ledger, known))
    else:
        found = asyncio.run(verify_archive(Archive.read(archive), known))
        sent = deliveries.VerifiedDeliveries(rows=0, faults=())
    rows, unproven = cells(_COLUMNS, found.faults), cells(_COLUMNS, found.unprovable)
    others = cells(_OF_DELIVERIES, sent.faults)
    lines = [
        "a restoration of this ledger lost what was recorded behind its archive, up to anchor "
        f"{loss.anchor}, and {sent.lost} deliveries up to batch {loss.batch}"
        for loss in found.losses
    ]
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "rows": found.rows,
                    "anchors": found.anchors,
                    "faults": named(_COLUMNS, rows),
                    "not_provable": named(_COLUMNS, unproven),
                    "restored": lines,
                    "deliveries": sent.rows,
                    "delivery_faults": named(_OF_DELIVERIES, others),
                }
            )
        case OutputFormat.TABLE:
            if rows or unproven:
                print_rows(output, _COLUMNS, [*rows, *unproven])
            if others:
                print_rows(output, _OF_DELIVERIES, others)
            say(
                *lines,
                f"{found.rows} rows verified against {found.anchors} anchors, and {sent.rows} "
                f"deliveries: {len(rows) + len(others) or 'no'} faults"
                + (f", {len(unproven)} not provable" if unproven else ""),
            )
    exit_if(rows or others)
    exit_if(unproven, ExitCode.NOT_VERIFIED)


def _known_anchors(
    files: Sequence[Path] | None, *, topic: bool, roots: Path | None = None
) -> list[Anchor]:
    known = [anchor for path in files or () for anchor in _of_file(path, roots)]
    return [*topic_anchors(kafka_settings()), *known] if topic else known


async def _verify(
    ledger: Ledger, known: Sequence[Anchor]
) -> tuple[chains.Verified, deliveries.VerifiedDeliveries]:
    read_at = datetime.now(UTC) - _SKEW
    found = await chains.verify(ledger, known)
    lost = max((loss.batch for loss in found.losses), default=0)
    sent = await deliveries.verify(
        ledger, found.batches, found.erased_deliveries, read_at=read_at, lost_until=lost
    )
    return found, sent


@app.command()
def restore(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", file_okay=False, exists=True, help="The folder of the archive."
        ),
    ] = None,
    *,
    anchors: AnchorsOption = None,
    topic: TopicOption = True,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Restore although the archive ends too early.")
    ] = False,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Restore a ledger to an empty database: from an archive and the topics, or without FOLDER from
    the topics alone.

    The archive is verified first. Nobody who was erased comes back. What İYS holds is unknown, and
    the calls of every customer wait until izin brands resume: then İYS is queried before anything
    is submitted. Who ordered it is written to the history. Exit code 1 if nothing was done yet, 4
    if it is refused, 130 if it was stopped: the same command goes on.
    """
    with exit_on_signals():
        _restore(
            folder,
            _known_anchors(anchors, topic=topic),
            accept_loss=accept_loss,
            execute=execute,
            by=by,
            output=output,
        )


@app.command()
def bootstrap(
    *,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Restore the ledger from desired-consents where its next decisions are no longer kept.

    A sink worker does so by itself, with an alert; this shows what it would restore, and how far it
    is. A newer row stays as it is. What İYS holds is unknown, and queried before anything is
    submitted. A command that was stopped goes on where it was. Who ordered it is written to the
    history. Exit code 1 if anything waits.
    """
    kafka = kafka_settings()
    found, lost = run_on_ledger(
        lambda ledger: _bootstrap(ledger, kafka, codec(kafka), by=by if execute else None)
    )
    rows = {
        **{one.partition: _restored(one) for one in found},
        **{
            one.partition: (one.partition, "lost", 0, one.end_offset, 0, one.decisions_from, None)
            for one in lost
        },
    }
    print_rows(
        output,
        {
            "partition": "partition",
            "state": "state",
            "read": "read",
            "of": "of",
            "keys": "keys",
            "decisions_from": "decisions from",
            "finished_at": "finished (Turkey)",
        },
        [rows[number] for number in sorted(rows)],
    )
    waiting = [row for row in rows.values() if row[1] != "restored"]
    if not waiting:
        say("nothing waits to be restored")
    else:
        say_dry_run(f"{len(waiting)} partitions are to be restored")
    exit_if(waiting)


def _restored(one: Bootstrap) -> tuple[object, ...]:
    state = "waits" if one.finished_at is None else "restored"
    read, end = min(one.next_offset, one.end_offset), one.end_offset
    return one.partition, state, read, end, one.keys, one.decisions_from, one.finished_at


async def _bootstrap(
    ledger: Ledger, settings: KafkaSettings, encoder: Codec, *, by: str | None
) -> tuple[Sequence[Bootstrap], Sequence[Range]]:
    """Restore what is lost if somebody orders it, ``by``; return how far each partition is, and
    what is lost.
    """
    bootstrapper = Bootstrapper(
        ledger=ledger,
        topic_messages=TopicMessages(encoder, settings.topics),
        codec=encoder,
        settings=settings,
        clock=utc_now,
    )
    lost = await bootstrapper.lost()
    if by is not None:
        async with living(ledger):
            await bootstrapper.begin(lost, by=by)
            await bootstrapper.run(_say_progress)
        lost = []
    return await bootstrapper.progress(), lost


def _say_progress(progress: Sequence[Bootstrap], what: str = "offsets") -> None:
    read = sum(min(one.next_offset, one.end_offset) for one in progress)
    say(f"{read} of {sum(one.end_offset for one in progress)} {what} read")


def _of_file(path: Path, roots: Path | None) -> tuple[Anchor, ...]:
    try:
        trusted = () if roots is None else roots_in(roots)
    except ValueError as error:
        raise SourceError(f"{roots} has no certificates; name the roots in PEM") from error
    try:
        return chains.read_anchors(path, trusted)
    except UnreadableAnchorError as error:
        raise SourceError(f"{error}: is it a file of anchors (IZIN_ANCHOR_FILE)?") from error


def topic_anchors(settings: KafkaSettings) -> Iterator[Anchor]:
    """Yield the anchors that were published to the topic; raises BrokerError."""
    try:
        for record in read_all(settings, codec(settings), settings.topics.anchors):
            yield Anchor.from_avro(record.value)
    except BrokerError as error:
        raise BrokerError(f"{error} (--no-topic verifies without the topic's anchors)") from error


@app.command()
def republish(
    *, execute: ExecuteOption = False, by: ByOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """Publish again what the topics had of the ledger, and follow this Kafka: after it was lost.

    Those are brands, API keys and permissions; desired-consents is restored before, by izin replay
    rebuild. Sink workers may run: they publish it. Who ordered it is written to the history. Exit
    code 1 if nothing was done yet, 4 if it is refused, 130 if it was stopped: give it again.
    """
    with exit_on_signals(), showing("permissions") as shown:
        kafka = kafka_settings()
        encoder = codec(kafka)

        async def work(ledger: Ledger) -> Republished:
            republication = Republication(
                ledger=ledger,
                topic_messages=TopicMessages(encoder, kafka.topics),
                codec=encoder,
                settings=kafka,
                clock=utc_now,
                report=shown,
            )
            return await (republication.execute(by=by) if execute else republication.check())

        found = run_on_ledger(work)
    facts = asdict(found)
    print_rows(output, ("what", "value"), list(facts.items()), as_json=facts)
    say(
        f"the ledger has what was decided up to {turkish(found.read_until)}: have every producer "
        "publish again what it has from shortly before, for duplicates change nothing"
    )
    if not execute:
        say_dry_run(f"{found.permissions} permissions are to be published")
    exit_if(not execute)


@app.command()
def archive(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", file_okay=False, help="The folder of the archive.")
    ],
    *,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Archive the history to files outside the ledger: what is new since the last time.

    Every row is verified on its way. Files with rows that were erased meanwhile are written again,
    and those of months that were dropped are removed: run it after either. The files name
    recipients; only their owner may read them. Who ordered it, and where to, is written to the
    history. Exit code 4 if the history is broken, 130 if it was stopped: it goes on.
    """
    with exit_on_signals(), showing("rows archived") as shown:

        async def work(ledger: Ledger) -> Archived:
            return await ArchiveWriter(ledger, folder, report=shown).run(
                by=by, now=datetime.now(UTC)
            )

        done = run_on_ledger(work)
    (row,) = cells(_ARCHIVED, [done])
    print_rows(output, _ARCHIVED, [row], as_json=dict(zip(_ARCHIVED, row, strict=True)))


@app.command("encrypt-secrets")
def encrypt_secrets(
    *,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Encrypt every secret in the ledger under the first of IZIN_SECRET_KEYS: tokens of İYS, and
    what signs webhooks.

    Processes that have the same keys go on meanwhile. It ends with how many secrets are under which
    key, the first first: another that has none left can be taken out of the setting. A command that
    was stopped goes on where it was. Who ordered it is written to the history. Exit code 1 if a
    secret is not under the first key or cannot be decrypted, 4 without a key.
    """

    async def work(ledger: Ledger) -> SecretCensus:
        if not ledger.secret_keys.ids:
            raise SettingError(
                "IZIN_SECRET_KEYS is not set, so nothing can be encrypted; make a key with: "
                "openssl rand -base64 32, and set it here and for every process (docs/security.md)"
            )
        if execute:
            await encrypt_all(ledger, by=by, now=utc_now(), report=shown)
        return await census(ledger)

    with showing("rows of secrets") as shown:
        found = run_on_ledger(work)
    print_rows(output, ("key", "secrets"), found.counts.items(), notes=found.faults)
    if found.behind and not execute:
        say_dry_run(f"{sum(found.behind.values())} secrets are not under the first key")
    exit_if(found.behind or found.faults)


def _restore(
    folder: Path | None,
    anchors: Sequence[Anchor],
    *,
    accept_loss: bool,
    execute: bool,
    by: str,
    output: OutputFormat,
) -> None:
    """Restore a ledger from the archive in ``folder``, or from topics alone."""
    with showing("rows of the history") as shown:

        async def work(ledger: Ledger) -> tuple[Restorable, Restored | None]:
            kafka, settings = kafka_settings(), LedgerSettings()
            restoration = LedgerRestoration(
                rebuild=LedgerRebuild(ledger=ledger, settings=settings, clock=utc_now, workers=1),
                kafka=kafka,
                codec=codec(kafka),
                secrets=StreamSettings().suppressions,
                archive=None if folder is None else Archive.read(folder).of(None),
                on_load=shown,
                on_read=partial(_say_progress, what="offsets of the state"),
            )
            found = await restoration.check(anchors)
            if not execute:
                return found, None
            return found, await restoration.execute(anchors, accept_loss=accept_loss, by=by)

        found, done = run_on_ledger(work)
    _print_restored(found, done, output)
    exit_if(done is None)


def _print_restored(found: Restorable, done: Restored | None, output: OutputFormat) -> None:
    facts: dict[str, object] = {
        "entries": found.entries,
        "suppressed": len(found.suppressions),
        "lost": [{"shard": fault.shard, "place": fault.place} for fault in found.lost],
    }
    if done is not None:
        facts |= {"erased": done.erased, "rows": done.rows, "keys": done.keys, "held": done.held}
    rows = [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else value)
        for name, value in facts.items()
    ]
    print_rows(output, ("what", "value"), rows, as_json=facts)
    if done is None:
        say("nothing was changed; add --execute to do it")
    else:
        say(
            "İYS was not asked yet, and nothing may be sent until it is: look at the rows (izin "
            "explain, izin ledger verify), start the sink worker, and let it ask: izin brands "
            f"resume --customer {' / '.join(done.held)} --what iys --execute"
        )
