"""Import of a CRM export: valid rows are published as events, the others reported.

Event ids are derived from the digest of the file and the line, so importing a file again publishes
the same events. Valid rows are published even if others are not, and so is every opt-out whose key
can be read: those of the whole file before the first opt-in. An unreachable broker interrupts the
import; importing again is safe, and with a journal publishes the same once more.

The journal, beside the report, has the instant of receipt, which is that of all events of the
import, and at its end the counts. It is on the disk before the first event is published, so that
whoever repeats an import that stopped publishes what the first would have published. It names the
file by its digest and the options by theirs, and holds nothing of any row.

A preview says what an import would make of the columns of a file.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.columns import (
    ColumnMeaning,
    ColumnsError,
    column_meanings,
    resolve,
)
from izin.producers.files.report import (
    ImportReport,
    ReportRows,
    Tally,
    check_place,
    reversals_beside,
)
from izin.producers.files.rows import (
    ImportRun,
    OptOuts,
    ReversalGuard,
    ReversalRules,
    RowJudge,
    brands_of,
    columns_of,
)
from izin.producers.files.table_formats import WORKBOOK, open_table, suffix_of, without_added
from izin.producers.files.tables import (
    FileRow,
    Table,
    UnusableFileError,
    UnwritableFileError,
    whole_file,
)
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import Review, passes
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.publisher import KafkaPublisher
from izin.runtime.masking import mask_text

_PROGRESS_ROWS = 1000
FindOptOuts = Callable[[Collection[int]], OptOuts]
"""Returns the opt-outs that stand for these brands."""


OnProgress = Callable[[str, int, int], None]
"""Called with what is done (the opt-outs of the file go before all else), the rows of which that is
so, and how many there seem to be."""


class Start(StrEnum):
    """What was before an import."""

    NEW = "new"
    STOPPED = "stopped"
    """One of this file, with these options, stopped: its receipt is kept."""
    FILE_CHANGED = "file-changed"
    """The file is not the one whose import stopped."""
    OPTIONS_CHANGED = "options-changed"
    """The options are not those of the import that stopped or ended."""


class JournalState(BaseModel):
    """What is known of an import."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    digest: str
    """SHA-256 of the file."""
    options: str
    """SHA-256 of the options."""
    received_at: AwareDatetime
    """When the import began: the receipt of all its events."""
    tally: Tally = Field(default_factory=Tally)
    finished_at: AwareDatetime | None = None


@dataclass(kw_only=True)
class Journal:
    """The journal at ``path``; without one an import that stopped leaves nothing."""

    path: Path | None
    state: JournalState
    start: Start = Start.NEW

    def note(self, **changes: object) -> None:
        """Note what has changed of the state. It is on the disk when this returns."""
        self.state = self.state.model_copy(update=changes)
        if self.path is None:
            return
        with whole_file(self.path) as stream:
            stream.write(self.state.model_dump_json(indent=2).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        _sync_folder(self.path.parent)


def begin(
    path: Path | None, *, digest: str, options: Mapping[str, object], now: datetime, again: bool
) -> Journal:
    """Return the journal of an import of the file of ``digest`` that begins ``now``, or is
    repeated; nothing is written yet.

    With ``again`` a complete import of the same file is no reason to publish nothing.

    Raises:
        UnusableFileError: what is at ``path`` is no journal.
        UnwritableFileError: it cannot be read.
    """
    new = JournalState(digest=digest, options=digest_of(options), received_at=now)
    before = None if path is None else _read(path)
    start = Start.NEW
    if before is not None and before.digest == digest:
        if before.options != new.options:
            start = Start.OPTIONS_CHANGED
        elif before.finished_at is None or not again:
            return Journal(path=path, state=before, start=Start.STOPPED)
    elif before is not None and before.finished_at is None:
        start = Start.FILE_CHANGED
    return Journal(path=path, state=new, start=start)


def digest_of(options: Mapping[str, object]) -> str:
    """Return a digest of ``options``: values of JSON, and others by their texts."""
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> JournalState | None:
    try:
        return JournalState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnwritableFileError(path, error) from error
    except ValidationError as error:
        what = "it is no journal of an import; remove it, then import again"
        raise UnusableFileError(path, what) from error


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """The options of an import."""

    columns: ColumnChoices = field(default_factory=ColumnChoices)
    dates: DateRules = field(default_factory=DateRules)
    origin: str = "file"
    report_path: Path | None = None
    """None: beside the file, as ``<name>.report.csv`` or, of a workbook, ``<name>.report.xlsx``.
    What a name ends with is the format."""
    dry_run: bool = False
    resumable: bool = False
    """Keep a journal beside the report: an import that stopped is repeated with its receipt, and
    one that ended is not repeated."""
    again: bool = False
    """Repeat one that ended."""
    reversals: ReversalRules = field(default_factory=ReversalRules)
    review: Review = passes
    """Called with each record that would be published: why an opt-in is reported instead."""

    def report_of(self, path: Path) -> Path:
        """Return where the report of the file at ``path`` is."""
        if self.report_path is not None:
            return self.report_path
        suffix = WORKBOOK if suffix_of(path) == WORKBOOK else ".csv"
        return path.with_name(f"{path.name}.report{suffix}")


def journal_of(report: Path) -> Path:
    """Return where the journal is of an import with this ``report``."""
    return report.with_name(f"{report.name}.journal")


def import_file(  # noqa: PLR0913  # source, destination, clock and options
    path: Path,
    publisher: KafkaPublisher,
    directory: BrandDirectory,
    *,
    clock: Callable[[], datetime],
    how: Import,
    progress: OnProgress | None = None,
    opt_outs: FindOptOuts | None = None,
) -> ImportReport:
    """Import the file at ``path`` and return the result.

    ``opt_outs`` finds those that stand: without it no opt-in counts as a reversal.

    Raises:
        SourceError: the file as a whole cannot be used, or the report would replace this file, or
            another that is no report, or what stands in the place of the journal is none.
        ImportInterruptedError: Kafka became unreachable.
        UnwritableFileError: the report, or the journal, cannot be written.
    """
    began = perf_counter()
    table = open_table(path, how.columns)
    mode = path.stat().st_mode & 0o666
    columns = columns_of(table.headers, how.columns, directory)
    report_path = how.report_of(path)
    for one in (report_path, reversals_beside(report_path)):
        check_place(one, path)
    with ReportRows(report_path, table.headers) as report:
        journal = begin(
            journal_of(report_path) if how.resumable and not how.dry_run else None,
            digest=table.file.digest,
            options=_identity(how),
            now=clock(),
            again=how.again,
        )
        if journal.state.finished_at is None:
            run = ImportRun(
                path=path,
                columns=columns,
                judge=_judge(journal, directory, how),
                guard=ReversalGuard(
                    None if opt_outs is None else opt_outs(brands_of(columns, directory)),
                    how.reversals,
                    notes_own=journal.start is Start.STOPPED,
                ),
                publisher=None if how.dry_run else publisher,
                report=report,
            )
            _take_all(run, table, journal, progress or (lambda *_: None))
            report.complete(mode)
            done = _result(table, run.tally, how)
            done.restarted_because = None if journal.start is Start.NEW else journal.start
            journal.note(finished_at=clock(), tally=run.tally)
        else:
            done = _result(table, journal.state.tally, how)
            done.finished_before = journal.state.finished_at
    done.seconds = perf_counter() - began
    return done


def _take_all(run: ImportRun, table: Table, journal: Journal, progress: OnProgress) -> None:
    """Publish and report the rows of ``table``: opt-outs first, and all of them acknowledged.

    Raises:
        UnusableFileError: there are none.
    """
    with nullcontext() if run.publisher is None else run.publisher.bulk():
        take = run.take
        if run.publisher is not None:
            for row in _rows(table, journal, "opt-outs", progress):
                run.take_opt_outs(row)
            run.settle()
            take = run.take_others
        for row in _rows(table, journal, "published", progress):
            take(row)
        run.settle()
    if not run.tally.rows:
        raise UnusableFileError(table.file.path, "has a header and no rows; export it again")


def _rows(table: Table, journal: Journal, step: str, progress: OnProgress) -> Iterator[FileRow]:
    """Yield the rows of ``table``; before the first, the journal is on the disk."""
    rows = 0
    # A process reads the rows of a workbook: it ends with them, also where they are left.
    with closing(table.rows()) as found:
        for row in found:
            rows += 1
            if rows == 1:
                journal.note()
            yield row
            if rows % _PROGRESS_ROWS == 0:
                # As many as the size lets expect: before the end nobody knows how many.
                progress(step, rows, max(rows, rows * table.size // max(row.position, 1)))
    progress(step, rows, rows)


def _result(table: Table, tally: Tally, how: Import) -> ImportReport:
    """Return the result with the counts of ``tally``."""
    report = how.report_of(table.file.path)
    return ImportReport(
        **asdict(tally),
        path=table.file.path,
        digest=table.file.digest,
        encoding=table.file.encoding,
        delimiter=table.head.delimiter,
        header_line=table.head.line,
        hidden_sheets=table.hidden,
        report_path=report if report.exists() else None,
        reversals_path=reversals_beside(report) if tally.refused_reversals else None,
        dry_run=how.dry_run,
    )


def _judge(journal: Journal, directory: BrandDirectory, how: Import) -> RowJudge:
    digest = journal.state.digest
    return RowJudge(
        directory=directory,
        dates=how.dates,
        origin=how.origin,
        ids=FileIds(digest),
        digest=digest,
        received_at=journal.state.received_at.astimezone(UTC),
        review=how.review,
    )


def _identity(how: Import) -> dict[str, object]:
    """Return the options that decide what is published, and reported, of a file."""
    columns = asdict(how.columns)
    columns |= {name: sorted(columns[name]) for name in ("ignored", "confirmed")}
    return {
        "columns": columns,
        "dates": asdict(how.dates),
        "origin": how.origin,
        "reversals": sorted(how.reversals.event_ids),
        "is_reviewed": how.review is not passes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would make of the columns of a file."""

    path: Path
    encoding: str
    delimiter: str
    """Nothing for a workbook."""
    header_line: int
    """Lines or rows above it are titles."""
    hidden_sheets: tuple[str, ...]
    """Hidden sheets of a workbook that have rows, and are left out."""
    columns: tuple[ColumnMeaning, ...]
    problem: str | None
    """What is wrong with the columns and how to correct it: no row can be read before."""


def preview_file(path: Path, choices: ColumnChoices) -> ImportPreview:
    """Return what an import would make of the columns of the file at ``path``.

    Raises:
        SourceError: the file as a whole cannot be used, or a choice names nothing.
    """
    table, problem = open_table(path, choices), None
    choices = without_added(choices, table.headers)
    columns = column_meanings(table.headers, choices)
    try:
        resolve(table.headers, choices)
    except ColumnsError as error:
        problem = str(error)
    return ImportPreview(
        path=path,
        encoding=table.file.encoding,
        delimiter=table.head.delimiter,
        header_line=table.head.line,
        hidden_sheets=table.hidden,
        # Where a file has no header, the name of a column is a recipient.
        columns=tuple(one._replace(name=mask_text(one.name)) for one in columns),
        problem=problem,
    )
