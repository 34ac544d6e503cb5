"""``izin ledger backup`` and ``restore-check``: PostgreSQL's own backups, driven and checked."""

import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from izin.cli.terminal import (
    ByOption,
    OutputFormat,
    OutputOption,
    cells,
    exit_if,
    exit_on_error,
    exit_on_signals,
    instant,
    kafka_settings,
    print_rows,
    say,
    showing,
    utc_now,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import codec, watermarks
from izin.ledger import reads
from izin.ledger.archive.writer import KEY
from izin.ledger.db import Ledger
from izin.ledger.history import by_key, record_act, verify
from izin.ledger.record import Anchor, TopicMessages
from izin.local.backups import Moment, RestoredPostgres, backup_programs, take_backup, verify_backup
from izin.local.errors import LocalError
from izin.runtime.settings import LedgerSettings
from izin.sinks.ingest.bootstrap import Bootstrapper

ProgramsOption = Annotated[
    Path | None,
    typer.Option(
        "--programs",
        file_okay=False,
        exists=True,
        help="The folder of PostgreSQL's programs, of the server's version; else that on the PATH.",
    ),
]
BACKED_UP = "back up ledger"
_FAULTS = ("shard", "after", "place", "what")
_ARCHIVING = """SELECT current_setting('archive_mode') <> 'off' AS archives, last_archived_time,
    last_failed_time > coalesce(last_archived_time, '-infinity') AS fails FROM pg_stat_archiver"""


def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", file_okay=False, help="Where backups are kept.")
    ],
    *,
    programs: ProgramsOption = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Back up the ledger's server by pg_basebackup, and verify the copy.

    A backup is a folder named by its instant (UTC), complete or absent. It has recipients in full,
    and the secrets that are not encrypted: only its owner may read it. To restore a moment after
    it, the server must archive its WAL; exit code 1 if it does not, or fails to. Who ordered it is
    written to the history.
    """
    settings = LedgerSettings()
    url = settings.database_url.get_secret_value()
    with exit_on_error(LocalError), exit_on_signals(), showing("KiB copied") as shown:
        began = time.monotonic()
        made = take_backup(url, folder, backup_programs(programs), shown)
        archiving = run_on_ledger(lambda ledger: _noted(ledger, made, by))
    facts = {
        "backup": str(made),
        "bytes": sum(one.stat().st_size for one in made.rglob("*") if one.is_file()),
        "seconds": round(time.monotonic() - began, 1),
        **archiving,
    }
    print_rows(output, ("what", "value"), list(facts.items()), as_json=facts)
    if not archiving["archives"]:
        say("the server does not archive its WAL: nothing after this backup can be restored")
    elif archiving["fails"]:
        say("the server fails to archive its WAL; its log says why")
    exit_if(not archiving["archives"] or archiving["fails"])


def restore_check(
    folder: Annotated[
        Path, typer.Argument(metavar="BACKUP", file_okay=False, exists=True, help="One backup.")
    ],
    *,
    wal: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, exists=True, resolve_path=True, help="The archive of the server's WAL."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            parser=instant,
            metavar="INSTANT",
            help="What came before then, in Turkish time unless it has an offset; else all.",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(file_okay=False, exists=True, help="Where the copy is made; else in TMPDIR."),
    ] = None,
    programs: ProgramsOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Restore a backup to a moment, beside everything, and say what that would be.

    The copy is verified, recovered by a PostgreSQL of its own, and compared: its history with the
    anchors of the topic, its offsets with what Kafka still has. Nothing is published, and İYS is
    not called; the copy is removed. DATABASE_URL names user and database. Exit code 1 if decisions
    after it are gone from Kafka, or a row of the history is wrong, 4 if it cannot be restored: the
    moment is before the end of the backup, or the archive ends before it.
    """
    found = backup_programs(programs)
    url = LedgerSettings().database_url.get_secret_value()
    with (
        exit_on_error(LocalError),
        exit_on_signals(),
        tempfile.TemporaryDirectory(prefix="izin-", dir=work) as place,
    ):
        began = time.monotonic()
        say("verifying the backup, and restoring a copy")
        verify_backup(folder)
        moment = Moment(wal, until)
        with RestoredPostgres(Path(place), folder, found, url, moment) as server:
            seconds = round(time.monotonic() - began, 1)
            settings = LedgerSettings.model_validate({"DATABASE_URL": server.url})
            faults, facts = run_on_ledger(_compared, settings)
    facts = {"seconds": seconds, **facts}
    print_rows(output, ("what", "value"), list(facts.items()), as_json=facts)
    if faults:
        print_rows(output, _FAULTS, cells(_FAULTS, faults))
    exit_if(faults or facts["decisions_gone"])


async def _noted(ledger: Ledger, made: Path, by: str) -> Mapping[str, Any]:
    """Record who made a backup; return whether the server archives its WAL."""
    now, after = utc_now(), {"backup": str(made)}
    async with ledger.transaction() as connection:
        await record_act(connection, BACKED_UP, KEY, by=by, now=now, before={}, after=after)
    (archiving,) = await ledger.fetch(_ARCHIVING)
    return archiving


async def _compared(ledger: Ledger) -> tuple[Any, Mapping[str, Any]]:
    """Return the faults of a restored history, and what Kafka has behind it."""
    kafka = kafka_settings()
    encoder = codec(kafka)
    heads = await by_key.heads(ledger)
    anchors = [
        Anchor.from_avro(one.value) for one in read_all(kafka, encoder, kafka.topics.anchors)
    ]
    known = [one for one in anchors if one.place <= heads.get(one.shard, 0)]
    verified = await verify.verify(ledger, known)
    bootstrapper = Bootstrapper(
        ledger=ledger,
        topic_messages=TopicMessages(encoder, kafka.topics),
        codec=encoder,
        settings=kafka,
        clock=utc_now,
    )
    gone = {one.partition for one in await bootstrapper.lost()}
    positions, topic = await reads.ingested(ledger), kafka.topics.decisions.name
    behind = [end - positions[topic, one] for one, (_, end) in watermarks(kafka, topic).items()]
    return verified.faults, {
        "rows": verified.rows,
        "anchors": len(known),
        "anchors_after_it": len(anchors) - len(known),
        "decisions_to_read_again": sum(behind),
        "decisions_gone": len(gone),
    }
