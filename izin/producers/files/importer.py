"""Import of a CRM export: valid rows are published as events, the others reported.

Event ids are derived from the digest of the file and the line, so importing a file again publishes
the same events. Valid rows are published even if others are not, and so is every opt-out whose key
can be read: those of the whole file before the first opt-in. An unreachable broker interrupts the
import; importing again is safe, and with a journal goes on where it stopped.

A preview says what an import would make of the beginning of a file: nothing is published, nothing
is written, and recipients are masked.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import perf_counter

from izin.consent.enums import Status
from izin.consent.violations import Violation
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.columns import (
    ColumnMeaning,
    Columns,
    ColumnsError,
    column_meanings,
    resolve,
)
from izin.producers.files.importing.journal import CHECKPOINT_ROWS, Journal, Start, begin
from izin.producers.files.importing.judgement import (
    NoOptOuts,
    OptOuts,
    ReversalGuard,
    ReversalRules,
    RowJudge,
    brands_of,
    columns_of,
    fault_of,
)
from izin.producers.files.importing.report import (
    ImportReport,
    ReportRows,
    RowOutcome,
    check_place,
    reversals_beside,
)
from izin.producers.files.importing.run import ImportRun
from izin.producers.files.table_formats import WORKBOOK, open_table, suffix_of, without_added
from izin.producers.files.tables import FileRow, Table, UnusableFileError
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.records import (
    AcceptedRecord,
    MappedRecord,
    RefusedRecord,
    Review,
    passes,
    read,
)
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.publisher import EventPublisher
from izin.projections.brand_directory import BrandDirectory
from izin.runtime.masking import mask, mask_text

_PROGRESS_ROWS = 1000
FindOptOuts = Callable[[Collection[int]], OptOuts]
"""Returns the opt-outs that stand for these brands."""


OnProgress = Callable[[str, int, int], None]
"""Called with what is done (the opt-outs of the file go before all else), the rows of which that is
so, and how many there seem to be."""
EXAMINED, SHOWN = 1000, 10
"""How many rows are read, and how many of them are shown."""
_PREVIEW = "preview"


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
    publisher: EventPublisher,
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
        UnusableJournalError: what stands in the place of the journal is none.
        ImportInterruptedError: Kafka became unreachable.
        UnwritableReportError: the report, or the journal, cannot be written.
    """
    began = perf_counter()
    table = open_table(path, how.columns)
    mode = path.stat().st_mode & 0o666
    columns = columns_of(table.headers, how.columns, directory)
    report_path = how.report_of(path)
    for one in (report_path, reversals_beside(report_path)):
        check_place(one, path)
    is_kept = how.resumable and not how.dry_run
    with ReportRows(report_path, table.headers, is_kept=is_kept) as report:
        journal = begin(
            journal_of(report_path) if is_kept else None,
            digest=table.file.digest,
            options=_identity(how),
            now=clock(),
            again=how.again,
            kept=report.size,
        )
        found = _Import(table, columns, journal, report, progress or (lambda *_: None))
        if journal.state.finished_at is not None:
            return found.result(how, began)
        report.is_needed = journal.start is Start.RESUMED
        judge = _judge(journal, directory, how)
        standing = NoOptOuts() if opt_outs is None else opt_outs(brands_of(columns, directory))
        guard = ReversalGuard(standing, how.reversals, judge)
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


class _Import:
    """The passes over one file."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        journal: Journal,
        report: ReportRows,
        progress: OnProgress,
    ) -> None:
        self._table = table
        self._columns = columns
        self._journal = journal
        self._report = report
        self._progress = progress
        self.after = journal.state.line
        """Up to which line or row all was acknowledged before."""

    def run(self, judge: RowJudge, guard: ReversalGuard, publisher: EventPublisher | None) -> None:
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
            guard.accepts_all = state.accepts_reversals or guard.has_exactly(
                self._columns, lambda: self._rows("checked", self.after)
            )
            if guard.accepts_all:
                self._journal.note(accepts_reversals=True)
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
        is_noted = bool(done and len(guard.opt_outs))
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
        with closing(self._table.rows()) as found:
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
        "reversals": (sorted(how.reversals.event_ids), how.reversals.count),
        "is_reviewed": how.review is not passes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedRow:
    """One consent of a row, as an import would read it."""

    line: int
    brand_code: int | None
    type: str
    recipient: str
    """Masked."""
    recipient_type: str
    status: str
    source: str | None
    consent_date: datetime | None
    """In UTC; None: none is stated, or it cannot be read."""
    is_published: bool
    reasons: tuple[Violation, ...]
    """Why it is refused, or why İYS would not register it as it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would make of the beginning of a file."""

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
    rows: tuple[PreviewedRow, ...]
    """The consents of the first rows."""
    examined: int
    """How many rows were read for the counts."""
    published: int
    """How many consents of them would be published."""
    refused: int
    codes: Mapping[str, int]
    """How often each code was found."""


def preview_file(
    path: Path,
    directory: BrandDirectory,
    *,
    columns: ColumnChoices,
    dates: DateRules,
    now: datetime,
) -> ImportPreview:
    """Return what an import at ``now`` would make of the first ``EXAMINED`` rows of the file at
    ``path``, with the consents of the first ``SHOWN`` of them.

    Raises:
        SourceError: the file as a whole cannot be used, or a choice names nothing.
    """
    table = open_table(path, columns)
    columns = without_added(columns, table.headers)
    meanings = tuple(map(_masked, column_meanings(table.headers, columns)))
    try:
        known = resolve(table.headers, columns)
    except ColumnsError as error:
        return _preview(table, meanings, (), (), problem=str(error))
    with closing(table.rows()) as first:
        rows = [one for one in islice(first, EXAMINED) if not known.is_header(one.fields)]
    judge = RowJudge(
        directory=directory,
        dates=dates,
        origin=_PREVIEW,
        ids=FileIds(table.file.digest),
        digest=table.file.digest,
        received_at=now,
        review=passes,
    )
    found = [list(_previewed(one, known, judge)) for one in rows]
    return _preview(table, meanings, found, found[:SHOWN])


def _masked(column: ColumnMeaning) -> ColumnMeaning:
    """Return ``column`` without the recipient that is its name where a file has no header."""
    return column._replace(name=mask_text(column.name))


def _preview(
    table: Table,
    columns: tuple[ColumnMeaning, ...],
    found: Sequence[Sequence[PreviewedRow]],
    shown: Sequence[Sequence[PreviewedRow]],
    problem: str | None = None,
) -> ImportPreview:
    consents = [one for row in found for one in row]
    return ImportPreview(
        path=table.file.path,
        encoding=table.file.encoding,
        delimiter=table.delimiter,
        header_line=table.header_line,
        hidden_sheets=table.hidden,
        columns=columns,
        problem=problem,
        rows=tuple(one for row in shown for one in row),
        examined=len(found),
        published=sum(one.is_published for one in consents),
        refused=sum(not one.is_published for one in consents),
        codes=Counter(reason.code for one in consents for reason in one.reasons),
    )


def _previewed(row: FileRow, columns: Columns, judge: RowJudge) -> Iterator[PreviewedRow]:
    fault = fault_of(row, columns)
    if fault is not None:
        yield _row(row.line, read({}, judge.dates), RefusedRecord(violations=(fault,)))
        return
    for part in columns.parts(row.fields):
        record = judge.read(part)
        if not (part.lacks_recipient and record.status == Status.RET):
            yield _row(row.line, record, judge.judge(row, part, record))


def _row(line: int, record: MappedRecord, judged: AcceptedRecord | RefusedRecord) -> PreviewedRow:
    recipient = record.recipient
    if isinstance(judged, AcceptedRecord):
        recipient = judged.key.recipient
    return PreviewedRow(
        line=line,
        brand_code=record.brand_code,
        type=record.type,
        recipient=mask(recipient) if recipient else "",
        recipient_type=record.recipient_type,
        status=record.status,
        source=record.source,
        consent_date=record.consent_date,
        is_published=isinstance(judged, AcceptedRecord),
        reasons=judged.violations,
    )
