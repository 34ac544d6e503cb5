"""Import of a CRM export: valid rows are published as events, the others reported.

Event ids are derived from the digest of the file and the line, so importing a file again publishes
the same events. Valid rows are published even if others are not, and so is every opt-out whose key
can be read. An unreachable broker interrupts the import; importing again is safe.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import NoReturn, assert_never

from izin.consent.model import Status
from izin.consent.violations import Violation
from izin.producers.files.columns import ColumnChoices, Columns, resolve
from izin.producers.files.delimited import FileRow, TextFile, UnusableFileError
from izin.producers.files.delimited_table import open_delimited
from izin.producers.files.import_report import ImportReport
from izin.producers.files.report import ReportFile, RowOutcome, inseparable, refusal
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.judgement import (
    AcceptedRecord,
    RefusedRecord,
    Review,
    passes,
    reviewed,
)
from izin.producers.mapping.records import EventOrigin, read, validate
from izin.producers.mapping.violations import violation
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.event_publisher import (
    EventPublisher,
    OversizeError,
    Published,
    PublishResult,
    UndeliveredError,
)
from izin.producers.publishing.kafka_record import UnencodableError
from izin.projections.brand_directory import BrandDirectory, UnknownBrandError
from izin.runtime.errors import BrokerError

_FLUSH_TIMEOUT = timedelta(seconds=90)
_PROGRESS_ROWS = 1000


class ImportInterruptedError(BrokerError):
    """The broker became unreachable during an import."""

    def __init__(self, path: Path, published: int, error: BrokerError) -> None:
        super().__init__(
            f"{path.name}: interrupted after {published} acknowledged rows: {error}; "
            "import the file again when Kafka is back, for its events keep their ids"
        )
        self.published = published


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of an import."""

    rows: int
    position: int
    """Bytes read."""
    size: int
    """Bytes in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """The options of an import."""

    columns: ColumnChoices = field(default_factory=ColumnChoices)
    dates: DateRules = field(default_factory=DateRules)
    origin: str = "file"
    report_path: Path | None = None
    """None: beside the file, as ``<name>.report.csv``."""
    dry_run: bool = False
    review: Review = passes
    """Called with each record that would be published: why an opt-in is reported instead."""


def import_file(  # noqa: PLR0913  # source, destination, clock and options
    path: Path,
    publisher: EventPublisher,
    directory: BrandDirectory,
    *,
    clock: Callable[[], datetime],
    how: Import,
    progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Import the file at ``path`` and return the result.

    Raises:
        SourceError: the file as a whole cannot be used.
        ImportInterruptedError: Kafka became unreachable.
        UnwritableReportError: the report cannot be written.
    """
    began = perf_counter()
    table = open_delimited(path, how.columns)
    file = table.file
    columns = resolve(table.headers, how.columns)
    _check_given_brand(columns, directory)
    report_path = how.report_path or path.with_name(f"{path.name}.report.csv")
    with ReportFile(report_path) as report:
        run = _Run(file, columns, publisher, directory, how, clock(), report)
        with publisher.bulk():
            for row in table.rows():
                run.take(row)
                if progress is not None and run.rows % _PROGRESS_ROWS == 0:
                    progress(Progress(rows=run.rows, position=row.position, size=file.size))
            run.finish()
    if run.rows == 0:
        raise UnusableFileError(path, "has a header and no rows; export it again")
    if progress is not None:
        progress(Progress(rows=run.rows, position=file.size, size=file.size))
    return ImportReport(
        path=path,
        digest=file.digest,
        refused_opt_outs=run.refused[RowOutcome.OPT_OUT_NOT_IMPORTED],
        refused_unclear=run.refused[RowOutcome.UNCLEAR_NOT_IMPORTED],
        encoding=file.encoding,
        delimiter=table.delimiter,
        rows=run.rows,
        published=run.published,
        opt_outs=run.opt_outs,
        not_registrable=run.not_registrable,
        past_term=run.past_term,
        refused=run.refused.total(),
        reasons=dict(run.reasons),
        report_path=report_path if report.rows else None,
        dry_run=how.dry_run,
        seconds=perf_counter() - began,
    )


class _Run:
    """One import in progress."""

    def __init__(  # noqa: PLR0913, PLR0917  # constructed in one place
        self,
        file: TextFile,
        columns: Columns,
        publisher: EventPublisher,
        directory: BrandDirectory,
        how: Import,
        received_at: datetime,
        report: ReportFile,
    ) -> None:
        self._file = file
        self._ids = FileIds(file.digest)
        self._columns = columns
        self._publisher = publisher
        self._directory = directory
        self._how = how
        self._received_at = received_at
        self._report = report
        self._undelivered: UndeliveredError | None = None
        self.rows = self.published = self.opt_outs = 0
        self.not_registrable = self.past_term = 0
        self.refused: Counter[RowOutcome] = Counter()
        self.reasons: Counter[str] = Counter()

    def take(self, row: FileRow) -> None:
        """Publish or report ``row``."""
        self.rows += 1
        width = len(self._columns.headers)
        if row.fault is not None or len(row.fields) != width:
            what = row.fault or f"has {len(row.fields)} fields where the header has {width}"
            fault = violation("", "IZIN-ROW", what=what, width=width)
            self._refuse(row, inseparable(row.fields), fault)
            return
        record = read(self._columns.values(row.fields), self._how.dates)
        origin = EventOrigin(
            event_id=self._ids.of(row.line),
            origin=self._how.origin,
            received_at=self._received_at,
            import_id=self._file.digest,
            row=row.line,
        )
        match reviewed(validate(record, self._directory, origin), self._how.review):
            case RefusedRecord(violations=violations):
                self._refuse(row, refusal(record.status), *violations)
            case AcceptedRecord() as accepted:
                self._publish(row, accepted)
            case never:
                assert_never(never)

    def finish(self) -> None:
        """Wait until every event is acknowledged."""
        pending = self._publisher.flush(_FLUSH_TIMEOUT)
        if pending:
            self._interrupt(BrokerError(f"{pending} events were not acknowledged in time"))
        self._check_delivery()

    def _publish(self, row: FileRow, accepted: AcceptedRecord) -> None:
        status = accepted.event.status
        if self._how.dry_run:
            self.published += 1
            self.opt_outs += status == Status.RET
        else:
            try:
                self._publisher.send(
                    accepted.event, accepted.key, partial(self._delivered, row, status)
                )
            except (OversizeError, UnencodableError) as error:
                self._refuse(row, refusal(status), violation("", "IZIN-SIZE", what=error))
                return
            except BrokerError as error:
                self._interrupt(error)
            self._check_delivery()
        if not accepted.violations:
            return
        if status == Status.RET:
            self.not_registrable += 1
            self._report_row(row, accepted.violations, RowOutcome.PUBLISHED)
        else:
            # Counted only: in an old export that İYS holds already, this would be every row.
            self.past_term += 1

    def _delivered(self, row: FileRow, status: str, result: PublishResult) -> None:
        match result:
            case Published():
                self.published += 1
                self.opt_outs += status == Status.RET
            case OversizeError():
                self._refuse(row, refusal(status), violation("", "IZIN-SIZE", what=result))
            case UndeliveredError():
                self._undelivered = result
            case never:
                assert_never(never)

    def _check_delivery(self) -> None:
        if self._undelivered is not None:
            self._interrupt(self._undelivered)

    def _interrupt(self, error: BrokerError) -> NoReturn:
        raise ImportInterruptedError(self._file.path, self.published, error) from error

    def _refuse(self, row: FileRow, outcome: RowOutcome, *violations: Violation) -> None:
        self.refused[outcome] += 1
        self._report_row(row, violations, outcome)

    def _report_row(
        self, row: FileRow, violations: tuple[Violation, ...], outcome: RowOutcome
    ) -> None:
        self.reasons.update(one.code for one in violations)
        for one in violations:
            column, place = self._columns.column_of(one.field, row.fields)
            whole = place is None or len(row.fields) != len(self._columns.headers)
            value = ";".join(islice(row.fields, 20)) if whole else row.fields[place or 0]
            self._report.add(row.line, column, value, one, outcome)


def _check_given_brand(columns: Columns, directory: BrandDirectory) -> None:
    """Raise UnknownBrandError if the brand given for all rows is not registered."""
    text = columns.given.get(Field.BRAND_CODE)
    if text is not None:
        code = read(columns.given, DateRules()).brand_code
        if code is None:
            raise UnknownBrandError(text)
        directory.get(code)
