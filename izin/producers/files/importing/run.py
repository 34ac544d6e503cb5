"""One import in progress: each row is published, or reported, and counted."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn, assert_never

from izin.consent.model import Status
from izin.consent.violations import Violation
from izin.producers.files.delimited import FileRow
from izin.producers.files.import_report import Tally
from izin.producers.files.importing.judgement import RowJudge, fault_of
from izin.producers.files.importing.report import (
    ReportRows,
    RowFault,
    RowOutcome,
    inseparable,
    refusal,
)
from izin.producers.files.importing.reversals import ReversalGuard, violation_of
from izin.producers.files.row_parts import Columns, RowPart
from izin.producers.mapping.judgement import AcceptedRecord, RefusedRecord
from izin.producers.mapping.violations import violation
from izin.producers.publishing.event_publisher import (
    EventPublisher,
    OversizeError,
    Published,
    PublishResult,
    UndeliveredError,
)
from izin.producers.publishing.kafka_record import UnencodableError
from izin.runtime.errors import BrokerError

_FLUSH_TIMEOUT = timedelta(seconds=90)


class ImportInterruptedError(BrokerError):
    """The broker became unreachable during an import."""

    def __init__(self, path: Path, published: int, error: BrokerError) -> None:
        super().__init__(
            f"{path.name}: interrupted after {published} acknowledged rows: {error}; "
            "import the file again when Kafka is back, for its events keep their ids"
        )
        self.published = published


class ImportRun:
    """Takes the rows of a file, in their order."""

    def __init__(  # noqa: PLR0913  # by keyword, constructed in one place
        self,
        *,
        path: Path,
        columns: Columns,
        judge: RowJudge,
        guard: ReversalGuard,
        publisher: EventPublisher | None,
        report: ReportRows,
        tally: Tally,
    ) -> None:
        self._path = path
        self._columns = columns
        self._judge = judge
        self._guard = guard
        self._publisher = publisher
        """None: nothing is published, and what would be is counted."""
        self._report = report
        self._undelivered: UndeliveredError | None = None
        self.tally = tally

    def take(self, row: FileRow) -> None:
        """Publish or report ``row``."""
        if self._columns.is_header(row.fields):
            self.tally.repeated_headers += 1
            return
        self.tally.rows += 1
        inassignable = fault_of(row, self._columns)
        if inassignable is not None:
            faults = self._refused(row, "", inseparable(row.fields), inassignable)
        else:
            faults = [
                fault
                for part in self._columns.parts(row.fields)
                for fault in self._take_part(row, part)
            ]
        if faults:
            self._report.add(row, faults)

    def settle(self) -> None:
        """Wait until every event is acknowledged.

        Raises:
            ImportInterruptedError: one is not.
        """
        if self._publisher is not None:
            pending = self._publisher.flush(_FLUSH_TIMEOUT)
            if pending:
                self._interrupt(BrokerError(f"{pending} events were not acknowledged in time"))
            self._check_delivery()

    def _take_part(self, row: FileRow, part: RowPart) -> Sequence[RowFault]:
        """Publish one consent of ``row``; return what is to be reported of it."""
        record = self._judge.read(part)
        if part.lacks_recipient and record.status == Status.RET:
            self.tally.without_recipient += 1
            return ()
        match self._judge.judge(row, part, record):
            case RefusedRecord(violations=violations):
                return self._refused(row, part.name, refusal(record.status), *violations)
            case AcceptedRecord() as accepted:
                return self._accepted(row, part.name, accepted)
            case never:
                assert_never(never)

    def _accepted(self, row: FileRow, part: str, accepted: AcceptedRecord) -> Sequence[RowFault]:
        reversed_at = self._guard.reversed_at(accepted)
        if reversed_at is not None and self._guard.rules.skip:
            return self._refused(row, part, RowOutcome.REVERSAL, violation_of(reversed_at))
        status = accepted.event.status
        refused = self._publish(row, part, accepted, is_reversal=reversed_at is not None)
        if refused or not accepted.violations:
            return refused
        if status == Status.RET:
            self.tally.not_registrable += 1
            is_dry = self._publisher is None
            outcome = RowOutcome.WOULD_BE_PUBLISHED if is_dry else RowOutcome.PUBLISHED
            return self._faults(row, part, outcome, accepted.violations)
        # Counted only: in an old export that İYS holds already, this would be every row.
        self.tally.past_term += 1
        return ()

    def _publish(
        self, row: FileRow, part: str, accepted: AcceptedRecord, *, is_reversal: bool
    ) -> Sequence[RowFault]:
        event = accepted.event
        if self._publisher is None:
            self._count(event.status, is_reversal=is_reversal)
            return ()
        delivered = partial(self._delivered, row, part, event.status, is_reversal)
        try:
            self._publisher.send(event, accepted.key, delivered)
        except (OversizeError, UnencodableError) as error:
            fault = violation("", "IZIN-SIZE", what=error)
            return self._refused(row, part, refusal(event.status), fault)
        except BrokerError as error:
            self._interrupt(error)
        self._check_delivery()
        return ()

    def _count(self, status: str, *, is_reversal: bool) -> None:
        self.tally.published += 1
        self.tally.opt_outs += status == Status.RET
        self.tally.reversals += is_reversal

    def _delivered(
        self,
        row: FileRow,
        part: str,
        status: str,
        is_reversal: bool,  # bound by position, for each event
        result: PublishResult,
    ) -> None:
        match result:
            case Published():
                self._count(status, is_reversal=is_reversal)
            case OversizeError():
                fault = violation("", "IZIN-SIZE", what=result)
                self._report.add(row, self._refused(row, part, refusal(status), fault))
            case UndeliveredError():
                self._undelivered = result
            case never:
                assert_never(never)

    def _check_delivery(self) -> None:
        if self._undelivered is not None:
            self._interrupt(self._undelivered)

    def _interrupt(self, error: BrokerError) -> NoReturn:
        raise ImportInterruptedError(self._path, self.tally.published, error) from error

    def _refused(
        self, row: FileRow, part: str, outcome: RowOutcome, *violations: Violation
    ) -> list[RowFault]:
        self.tally.refused[outcome] += 1
        return self._faults(row, part, outcome, violations)

    def _faults(
        self, row: FileRow, part: str, outcome: RowOutcome, violations: Sequence[Violation]
    ) -> list[RowFault]:
        self.tally.reasons.update(one.code for one in violations)
        return [
            RowFault(self._columns.column_of(one.field, row.fields, part)[0], one, outcome)
            for one in violations
        ]
