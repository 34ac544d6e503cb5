"""A CRM export becomes consent events: good rows are published, others reported, none is skipped.

The ids of a file's events are made of its digest and the line, so importing it again says nothing
new. The good rows of a bad file are published, and a "no" whose key can be read always is. A broker
that goes away ends the import with what is known so far; importing again is safe.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn, assert_never

from izin.consent.model import Status
from izin.consent.violations import Violation
from izin.producers.brand_directory import UnknownBrandError
from izin.producers.files.columns import ColumnChoices, Columns, known_columns, resolve
from izin.producers.files.delimited import FileRow, UnusableFileError, examine, header, rows
from izin.producers.files.report import ReportFile, RowOutcome
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.names import Field
from izin.producers.mapping.records import AcceptedRecord, EventOrigin, RefusedRecord, judge, read
from izin.producers.mapping.violations import broken_row, too_large
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.kafka_record import UnencodableError
from izin.producers.publishing.publisher import OversizeError, Published, UndeliveredError
from izin.runtime.kafka import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from izin.producers.brand_directory import BrandDirectory
    from izin.producers.files.delimited import TextFile
    from izin.producers.publishing.publisher import EventPublisher, PublishResult


_ANSWERED_WITHIN = timedelta(seconds=90)
_PROGRESS_ROWS = 1000


class ImportInterruptedError(BrokerError):
    """The broker went away in the middle of an import."""

    def __init__(self, path: Path, published: int, error: BrokerError) -> None:
        super().__init__(
            f"{path.name}: interrupted after {published} acknowledged rows: {error}; "
            "import the file again when Kafka is back, for its events keep their ids"
        )
        self.published = published


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an import has come."""

    rows: int
    position: int
    """Bytes read."""
    size: int
    """Bytes in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of a file."""

    path: Path
    digest: str
    encoding: str
    delimiter: str
    rows: int
    published: int
    """Events the broker has; in a dry run, those it would have been given."""
    opt_outs: int
    """Those of them that say "no"."""
    not_registrable: int
    """Opt-outs published, but also reported: İYS would not register them as they stand."""
    past_term: int
    """ONAY published whose term had ended: void unless İYS holds them already."""
    refused: int
    """Rows that were not published."""
    reasons: Mapping[str, int]
    """How often each code was reported."""
    report_path: Path | None
    """The report file; None where nothing was to be reported."""
    dry_run: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """How a file is to be read."""

    columns: ColumnChoices = field(default_factory=ColumnChoices)
    dates: DateRules = field(default_factory=DateRules)
    origin: str = "file"
    report_path: Path | None = None
    """None: beside the file, as ``<name>.report.csv``."""
    dry_run: bool = False


def import_file(  # noqa: PLR0913  # what to read, where to, and the clock are separate things
    path: Path,
    publisher: EventPublisher,
    directory: BrandDirectory,
    *,
    clock: Callable[[], datetime],
    how: Import,
    progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """Publish the rows of the file and return what became of them.

    Raises SourceError where the file as a whole cannot be used, BrokerError where Kafka cannot be
    reached.
    """
    began = perf_counter()
    file = examine(path)
    delimiter, headers = header(file, lambda names: known_columns(names, how.columns))
    columns = resolve(headers, how.columns)
    _know_given_brand(columns, directory)
    report_path = how.report_path or path.with_name(f"{path.name}.report.csv")
    with ReportFile(report_path) as report:
        run = _Run(file, columns, publisher, directory, how, clock(), report)
        with publisher.bulk():
            for row in rows(file, delimiter, len(headers)):
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
        encoding=file.encoding,
        delimiter=delimiter,
        rows=run.rows,
        published=run.published,
        opt_outs=run.opt_outs,
        not_registrable=run.not_registrable,
        past_term=run.past_term,
        refused=run.refused,
        reasons=dict(run.reasons),
        report_path=report_path if report.rows else None,
        dry_run=how.dry_run,
        seconds=perf_counter() - began,
    )


class _Run:
    """One import under way."""

    def __init__(  # noqa: PLR0913, PLR0917  # made in one place
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
        self._broken: UndeliveredError | None = None
        self.rows = self.published = self.opt_outs = self.refused = 0
        self.not_registrable = self.past_term = 0
        self.reasons: Counter[str] = Counter()

    def take(self, row: FileRow) -> None:
        """Publish ``row``, or report it."""
        self.rows += 1
        width = len(self._columns.headers)
        if row.fault is not None or len(row.fields) != width:
            what = row.fault or f"has {len(row.fields)} fields where the header has {width}"
            self._refuse(row, (broken_row(what, width),))
            return
        statement = read(self._columns.values(row.fields), self._how.dates)
        origin = EventOrigin(
            event_id=self._ids.of(row.line),
            origin=self._how.origin,
            received_at=self._received_at,
            import_id=self._file.digest,
            row=row.line,
        )
        match judge(statement, self._directory, origin):
            case RefusedRecord(violations=violations):
                self._refuse(row, violations)
            case AcceptedRecord() as admitted:
                self._publish(row, admitted)
            case never:
                assert_never(never)

    def finish(self) -> None:
        """Wait until every publication is answered."""
        unanswered = self._publisher.flush(_ANSWERED_WITHIN)
        if unanswered:
            self._interrupt(BrokerError(f"{unanswered} events were not acknowledged in time"))
        self._stop_if_broken()

    def _publish(self, row: FileRow, admitted: AcceptedRecord) -> None:
        is_opt_out = admitted.event.status == Status.RET
        if self._how.dry_run:
            self.published += 1
            self.opt_outs += is_opt_out
        else:
            try:
                self._publisher.send(
                    admitted.event, admitted.key, partial(self._answered, row, is_opt_out)
                )
            except (OversizeError, UnencodableError) as error:
                self._refuse(row, (too_large(error),))
                return
            except BrokerError as error:
                self._interrupt(error)
            self._stop_if_broken()
        if not admitted.violations:
            return
        if is_opt_out:
            self.not_registrable += 1
            self._tell(row, admitted.violations, RowOutcome.PUBLISHED)
        else:
            # Counted and not reported: of an old export that İYS holds, it would be every row.
            self.past_term += 1

    def _answered(self, row: FileRow, is_opt_out: bool, answer: PublishResult) -> None:
        match answer:
            case Published():
                self.published += 1
                self.opt_outs += is_opt_out
            case OversizeError():
                self._refuse(row, (too_large(answer),))
            case UndeliveredError():
                self._broken = answer
            case never:
                assert_never(never)

    def _stop_if_broken(self) -> None:
        if self._broken is not None:
            self._interrupt(self._broken)

    def _interrupt(self, error: BrokerError) -> NoReturn:
        raise ImportInterruptedError(self._file.path, self.published, error) from error

    def _refuse(self, row: FileRow, violations: tuple[Violation, ...]) -> None:
        self.refused += 1
        self._tell(row, violations, RowOutcome.NOT_IMPORTED)

    def _tell(self, row: FileRow, violations: tuple[Violation, ...], outcome: RowOutcome) -> None:
        self.reasons.update(one.code for one in violations)
        for one in violations:
            column, place = self._columns.column_of(one.field, row.fields)
            whole = place is None or len(row.fields) != len(self._columns.headers)
            value = ";".join(islice(row.fields, 20)) if whole else row.fields[place or 0]
            self._report.add(row.line, column, value, one, outcome)


def _know_given_brand(columns: Columns, directory: BrandDirectory) -> None:
    """Raise UnknownBrandError where the brand given for all rows is not ours."""
    text = columns.given.get(Field.BRAND_CODE)
    if text is not None:
        code = read(columns.given, DateRules()).brand_code
        if code is None:
            raise UnknownBrandError(text)
        directory.get(code)
