"""``izin ledger archive`` and ``izin ledger restore``: the history outside the ledger, and back."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.console.terminal.arguments import ByOption
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    print_json,
    print_rows,
    say,
    say_dry_run,
)
from izin.console.terminal.progress import showing
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.replay.ledger.restore import LedgerRestoration, Restorable, Restored
from izin.runtime.kafka import codec
from izin.runtime.settings import LedgerSettings, StreamSettings
from izin.sinks.ledger.archive.folder import Archive
from izin.sinks.ledger.archive.writer import Archived, ArchiveWriter
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.offsets import Bootstrap
from izin.sinks.record.anchor import Anchor

FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", file_okay=False, help="The folder of the archive.")
]
_ARCHIVED = ("rows", "files", "rewritten", "removed")


def archive(
    folder: FolderArgument,
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
    with exit_on_signals(), exit_on_error(), showing("rows archived") as shown:

        async def work(ledger: Ledger) -> Archived:
            writer = ArchiveWriter(ledger, folder, report=shown)
            return await writer.run(by=by, now=datetime.now(UTC))

        done = run_on_ledger(work)
    row = [getattr(done, name) for name in _ARCHIVED]
    match output:
        case OutputFormat.JSON:
            print_json(dict(zip(_ARCHIVED, row, strict=True)))
        case OutputFormat.TABLE:
            print_rows(output, _ARCHIVED, [row])


def restore(
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
                rebuild=LedgerRebuild(
                    ledger=ledger, settings=settings, clock=lambda: datetime.now(UTC), workers=1
                ),
                kafka=kafka,
                codec=codec(kafka),
                secrets=StreamSettings().suppressions,
                archive=None if folder is None else Archive.read(folder).of(None),
                on_load=shown,
                on_read=_say_read,
            )
            found = await restoration.check(anchors)
            if not execute:
                return found, None
            return found, await restoration.execute(anchors, accept_loss=accept_loss, by=by)

        found, done = run_on_ledger(work)
    _print(found, done, output)
    exit_if(done is None)


def _print(found: Restorable, done: Restored | None, output: OutputFormat) -> None:
    facts: dict[str, object] = {
        "movements": found.movements,
        "suppressed": len(found.suppressions),
        "lost": [{"shard": one.shard, "place": one.place} for one in found.lost],
    }
    if done is not None:
        facts |= {"erased": done.erased, "rows": done.rows, "keys": done.keys, "held": done.held}
    if output is OutputFormat.JSON:
        print_json(facts)
    else:
        rows = [
            (name, ", ".join(map(str, value)) if isinstance(value, list) else value)
            for name, value in facts.items()
        ]
        print_rows(output, ("what", "value"), rows)
    if done is None:
        say_dry_run("nothing was changed")
    else:
        say(
            "İYS was not asked yet, and nothing may be sent until it is: look at the rows (izin "
            "explain, izin ledger verify), start the sink worker, and let it ask: izin brands "
            f"resume --customer {' / '.join(done.held)} --what iys --execute"
        )


def _say_read(progress: Sequence[Bootstrap]) -> None:
    read = sum(min(one.next_offset, one.end_offset) for one in progress)
    say(f"{read} of {sum(one.end_offset for one in progress)} offsets of the state read")
