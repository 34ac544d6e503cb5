"""Import of a CRM export: valid rows are published as events, the others reported.

Event ids are derived from the digest of the file and the line, so importing a file again publishes
the same events. Valid rows are published even if others are not, and so is every opt-out whose key
can be read: those of the whole file before the first opt-in. An unreachable broker interrupts the
import; importing again is safe, and with a journal goes on where it stopped.

The journal, beside the report, says how far an import is. It is written each time all events up to
a row are acknowledged, and is on the disk before the next row is published. It has the counts up to
that row and the instant of receipt, so that whoever goes on publishes what the first would have
published. It names the file by its digest and the options by theirs, and holds nothing of any row.

Rows of its report that a person has corrected are imported as rows of the same file: with the ids
that they had, from the digest and the line, and as received when it was. So of a row that had been
published in part nothing is published twice, and the import has one account of its events.
"""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.files.corrections import with_their_lines
from izin.producers.files.report import (
    ImportReport,
    ReportRows,
    RowOutcome,
    Tally,
    UnwritableReportError,
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
from izin.producers.files.table_formats import WORKBOOK, open_table, suffix_of
from izin.producers.files.tables import (
    FileRow,
    Table,
    UnusableFileError,
    UnwritableTableError,
    whole_file,
)
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.columns import Columns
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import Review, passes
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.publisher import KafkaPublisher

_PROGRESS_ROWS = 1000
FindOptOuts = Callable[[Collection[int]], OptOuts]
"""Returns the opt-outs that stand for these brands."""


OnProgress = Callable[[str, int, int], None]
"""Called with what is done (the opt-outs of the file go before all else), the rows of which that is
so, and how many there seem to be."""
CHECKPOINT_ROWS: Final = 10_000
"""After so many rows the import waits until all are acknowledged, and notes it: so many are
published again, with the ids that they have, where the process was killed."""


class Start(StrEnum):
    """From where an import goes."""

    NEW = "new"
    RESUMED = "resumed"
    """On from where one of this file, with these options, stopped."""
    FILE_CHANGED = "file-changed"
    """From the beginning, for the file is not the one whose import stopped."""
    OPTIONS_CHANGED = "options-changed"
    """From the beginning, for the options are not those of the import that stopped or ended."""
    REPORT_LOST = "report-lost"
    """From the beginning, for the report's rows up to where the import stopped are gone."""


class JournalState(BaseModel):
    """How far an import is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    digest: str
    """SHA-256 of the file."""
    options: str
    """SHA-256 of the options."""
    received_at: AwareDatetime
    """When the import began: the receipt of all its events."""
    opt_out_line: int = 0
    """The last line or row up to which the opt-outs are acknowledged, which go before all else."""
    line: int = 0
    """The last line or row up to which all is acknowledged, and reported."""
    report_size: int = 0
    """The bytes of the report's rows up to there."""
    tally: Tally = Field(default_factory=Tally)
    finished_at: AwareDatetime | None = None


@dataclass(kw_only=True)
class Journal:
    """The journal at ``path``; without one the import cannot be resumed."""

    path: Path | None
    state: JournalState
    start: Start = Start.NEW

    def note(self, **changes: object) -> None:
        """Note what has changed of the state: once all up to there is acknowledged. It is on the
        disk when this returns.
        """
        self.state = self.state.model_copy(update=changes)
        if self.path is None:
            return
        try:
            with whole_file(self.path) as stream:
                stream.write(self.state.model_dump_json(indent=2).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            _sync_folder(self.path.parent)
        except UnwritableTableError as error:
            raise UnwritableReportError(self.path, error.error) from error


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
    """Keep a journal beside the report: an import that stopped goes on from there, and one that
    ended is not repeated."""
    again: bool = False
    """Repeat one that ended."""
    reversals: ReversalRules = field(default_factory=ReversalRules)
    review: Review = passes
    """Called with each record that would be published: why an opt-in is reported instead."""
    corrects: Path | None = None
    """The report of an import with a journal that has ended, rows of which this file has, corrected
    (:mod:`izin.producers.files.corrections`)."""

    def report_of(self, path: Path) -> Path:
        """Return where the report of the file at ``path`` is."""
        if self.report_path is not None:
            return self.report_path
        suffix = WORKBOOK if suffix_of(path) == WORKBOOK else ".csv"
        return path.with_name(f"{path.name}.report{suffix}")


def journal_of(report: Path) -> Path:
    """Return where the journal is of an import with this ``report``."""
    return report.with_name(f"{report.name}.journal")


def begin(path: Path | None, how: Import, digest: str, *, now: datetime, kept: int) -> Journal:
    """Return the journal of an import of the file of ``digest`` that begins ``now``, or goes on;
    nothing is written yet. ``kept`` are the bytes that are left of the report's rows.

    Raises:
        UnusableFileError: what is at ``path`` is no journal.
        UnwritableReportError: it cannot be read.
    """
    new = JournalState(digest=digest, options=_options_of(how), received_at=now)
    before = None if path is None else _read(path)
    start = Start.NEW
    if before is not None and before.digest == digest:
        if before.options != new.options:
            start = Start.OPTIONS_CHANGED
        elif before.finished_at is None and before.report_size > kept:
            start = Start.REPORT_LOST
        elif before.finished_at is None or not how.again:
            return Journal(path=path, state=before, start=Start.RESUMED)
    elif before is not None and before.finished_at is None:
        start = Start.FILE_CHANGED
    return Journal(path=path, state=new, start=start)


def _options_of(how: Import) -> str:
    """Return a digest of the options that decide what is published, and reported, of a file."""
    columns = asdict(how.columns)
    columns |= {name: sorted(columns[name]) for name in ("ignored", "confirmed")}
    options = {
        "columns": columns,
        "dates": asdict(how.dates),
        "origin": how.origin,
        "reversals": sorted(how.reversals.event_ids),
        "is_reviewed": how.review is not passes,
    }
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> JournalState | None:
    try:
        return JournalState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnwritableReportError(path, error) from error
    except ValidationError as error:
        what = "no journal of an import; remove it, then import again"
        raise UnusableFileError(path, what) from error


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


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
        SourceError: the file as a whole cannot be used.
        ReportPlaceError: the report would replace this file, or another that is no report.
        ImportRunningError: another import is writing the same report.
        ImportInterruptedError: Kafka became unreachable.
        UnwritableReportError: the report, or the journal, cannot be written.
    """
    began = perf_counter()
    table = open_table(path, how.columns)
    mode = path.stat().st_mode & 0o666
    columns = columns_of(table.headers, how.columns, directory)
    corrected = None if how.corrects is None else _ended(how.corrects)
    report_path = how.report_of(path)
    for one in (report_path, reversals_beside(report_path)):
        check_place(one, path)
    is_kept = how.resumable and not how.dry_run
    with ReportRows(report_path, table.headers, is_kept=is_kept) as report:
        noted_at = journal_of(report_path) if is_kept else None
        journal = begin(noted_at, how, table.file.digest, now=clock(), kept=report.size)
        rows = table.rows if corrected is None else partial(with_their_lines, table)
        found = _Import(table, columns, journal, report, progress or (lambda *_: None), rows)
        if journal.state.finished_at is not None:
            return found.result(how, began)
        report.is_needed = journal.start is Start.RESUMED
        judge = _judge(how, directory, journal.state, corrected)
        opted_out = None if opt_outs is None else opt_outs(brands_of(columns, directory))
        guard = ReversalGuard(opted_out, how.reversals)
        opt_outs_after = journal.state.opt_out_line
        found.run(judge, guard, None if how.dry_run else publisher)
        written = report.complete(mode)
        journal.note(finished_at=clock())
        report.is_needed = False
        return replace(
            found.result(how, began),
            report_path=written,
            resumed_after=found.after or opt_outs_after,
            finished_before=None,
        )


def _ended(report: Path) -> JournalState:
    """Return the journal of the import whose ``report`` this is."""
    found = _read(journal_of(report))
    if found is None or found.finished_at is None:
        raise UnusableFileError(report, "its import has not ended; let it go on first")
    return found


def _judge(
    how: Import, directory: BrandDirectory, state: JournalState, corrected: JournalState | None
) -> RowJudge:
    digest = state.digest if corrected is None else corrected.digest
    return RowJudge(
        directory=directory,
        dates=how.dates,
        origin=how.origin,
        ids=FileIds(digest),
        digest=digest,
        received_at=state.received_at.astimezone(UTC),
        first_received_at=None if corrected is None else corrected.received_at.astimezone(UTC),
        review=how.review,
    )


class _Import:
    """The passes over one file."""

    def __init__(  # noqa: PLR0913, PLR0917  # constructed in one place
        self,
        table: Table,
        columns: Columns,
        journal: Journal,
        report: ReportRows,
        progress: OnProgress,
        rows: Callable[[], Generator[FileRow, None, None]],
    ) -> None:
        self._table = table
        self._read_rows = rows
        self._columns = columns
        self._journal = journal
        self._report = report
        self._progress = progress
        self.after = journal.state.line
        """Up to which line or row all was acknowledged before."""

    def run(self, judge: RowJudge, guard: ReversalGuard, publisher: KafkaPublisher | None) -> None:
        """Publish and report the rows, and note how far that is.

        Raises:
            UnusableFileError: there are none.
        """
        state = self._journal.state
        self._report.begin(state.report_size)
        run = ImportRun(
            path=self._table.file.path,
            columns=self._columns,
            judge=judge,
            guard=guard,
            publisher=publisher,
            report=self._report,
            tally=state.tally,
        )
        with nullcontext() if publisher is None else publisher.bulk():
            if publisher is not None:
                self._opt_outs(run, guard)
            take = run.take if publisher is None else run.take_others
            line = self.after
            for number, row in enumerate(self._rows("published", self.after)):
                if number % CHECKPOINT_ROWS == 0:
                    self._note(run, line=line)
                take(row)
                line = row.line
            run.settle()
        if not state.tally.rows:
            path = self._table.file.path
            raise UnusableFileError(path, "has a header and no rows; export it again")
        self._note(run, line=line)

    def _opt_outs(self, run: ImportRun, guard: ReversalGuard) -> None:
        """Publish the opt-outs of all rows, but those that are acknowledged."""
        before = self._journal.state
        done = max(before.opt_out_line, before.line)
        # Where opt-outs of the file itself may stand already, it is noted which those are.
        is_noted = bool(done and guard.opt_outs)
        line = done
        for number, row in enumerate(self._rows("opt-outs", 0 if is_noted else done)):
            is_known = row.line <= done
            if number % CHECKPOINT_ROWS == 0 and not is_known:
                self._note(run, opt_out_line=line)
            run.take_opt_outs(row, is_known=is_known)
            line = max(line, row.line)
        if line > done:
            self._note(run, opt_out_line=line)

    def result(self, how: Import, began: float) -> ImportReport:
        """Return the result, with the counts of the journal."""
        state, file = self._journal.state, self._table.file
        tally, start = state.tally, self._journal.start
        report = how.report_of(file.path)
        refused_reversals = tally.refused[RowOutcome.REVERSAL]
        return ImportReport(
            path=file.path,
            digest=file.digest,
            refused_opt_outs=tally.refused[RowOutcome.OPT_OUT_NOT_IMPORTED],
            refused_unclear=tally.refused[RowOutcome.UNCLEAR_NOT_IMPORTED],
            encoding=file.encoding,
            delimiter=self._table.delimiter,
            header_line=self._table.header_line,
            hidden_sheets=self._table.hidden,
            repeated_headers=tally.repeated_headers,
            without_recipient=tally.without_recipient,
            rows=tally.rows,
            published=tally.published,
            opt_outs=tally.opt_outs,
            not_registrable=tally.not_registrable,
            past_term=tally.past_term,
            refused=tally.refused.total(),
            reversals=tally.reversals,
            refused_reversals=refused_reversals,
            silent=tally.silent,
            reasons=dict(tally.reasons),
            report_path=report if state.report_size and report.exists() else None,
            reversals_path=reversals_beside(report) if refused_reversals else None,
            dry_run=how.dry_run,
            seconds=perf_counter() - began,
            restarted_because=None if start in {Start.NEW, Start.RESUMED} else start,
            finished_before=state.finished_at,
        )

    def _note(self, run: ImportRun, **lines: int) -> None:
        run.settle()
        self._journal.note(report_size=self._report.sync(), tally=run.tally, **lines)
        self._report.is_needed = True

    def _rows(self, step: str, after: int) -> Iterator[FileRow]:
        """Yield the rows after that line or row, which are not acknowledged yet."""
        rows, size = 0, self._table.size
        # A process reads the rows of a workbook: it ends with them, also where they are left.
        with closing(self._read_rows()) as found:
            for row in found:
                rows += 1
                if row.line <= after:
                    continue
                yield row
                if rows % _PROGRESS_ROWS == 0:
                    # As many as the size lets expect: before the end nobody knows how many.
                    expected = rows * size // max(row.position, 1)
                    self._progress(step, rows, max(rows, expected))
        self._progress(step, rows, rows)
