"""One import in progress: each row is published, or reported, and counted.

The opt-outs of all rows go first. A row that is one alone is done with then; where a row says more,
with a column a channel, the rest of it comes with the others, and all of it is reported then.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn, assert_never

from izin.consent.model import ConsentEvent, Status
from izin.consent.violations import Violation
from izin.producers.files.columns import Columns, RowPart
from izin.producers.files.importing.judgement import ReversalGuard, RowJudge, fault_of, violation_of
from izin.producers.files.importing.report import (
    ReportRows,
    RowFault,
    RowOutcome,
    Tally,
    inseparable,
    refusal,
)
from izin.producers.files.tables import FileRow
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.mapping.violations import violation
from izin.producers.publishing.publisher import (
    EventPublisher,
    OversizeError,
    Published,
    PublishResult,
    UndeliveredError,
    UnencodableError,
)
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
        self._ahead = set[int]()
        """The rows that say more, and whose opt-outs went ahead."""
        self._too_large_ahead = set[str]()
        self.tally = tally

    def take_opt_outs(self, row: FileRow, *, is_known: bool) -> None:
        """Publish the opt-outs of ``row``; where it ``is_known`` that they are, only note them."""
        has_any, is_all = self._opt_outs(row)
        if not has_any:
            return
        if is_all and not is_known:
            self.take(row)
            return
        for part in self._columns.parts(row.fields):
            record = self._judge.read(part)
            found = self._judge.judge(row, part, record)
            if record.status != Status.RET or isinstance(found, RefusedRecord):
                continue
            if is_known:
                self._guard.own(found)
            else:
                self._publish(row, part.name, found, is_ahead=True)
                self._ahead.add(row.line)

    def take_others(self, row: FileRow) -> None:
        """Publish or report what ``row`` says beside opt-outs; report those, too."""
        if not self._opt_outs(row)[1]:
            self.take(row)

    def _opt_outs(self, row: FileRow) -> tuple[bool, bool]:
        """Return whether ``row`` has an opt-out, and whether it says nothing else."""
        is_separable = fault_of(row, self._columns) is None
        return self._columns.opt_outs(row.fields) if is_separable else (False, False)

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
            parts = self._columns.parts(row.fields)
            self.tally.silent += not parts
            faults = [fault for part in parts for fault in self._take_part(row, part)]
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
        if reversed_at is not None:
            event = self._guard.given_back(accepted.event, reversed_at)
            if event is None:
                fault, event_id = violation_of(reversed_at), accepted.event.event_id
                found = self._refused(row, part, RowOutcome.REVERSAL, fault)
                return [one._replace(event_id=event_id) for one in found]
            accepted = replace(accepted, event=event)
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
        self,
        row: FileRow,
        part: str,
        accepted: AcceptedRecord,
        *,
        is_reversal: bool = False,
        is_ahead: bool = False,
    ) -> Sequence[RowFault]:
        event = accepted.event
        is_sent = (
            not is_ahead
            and event.status == Status.RET
            and row.line in self._ahead
            and event.event_id not in self._too_large_ahead
        )
        if self._publisher is None or is_sent:
            self._count(event.status, is_reversal=is_reversal)
            return ()
        delivered = partial(self._delivered, row, part, event, is_reversal, is_ahead)
        try:
            self._publisher.send(event, accepted.key, delivered)
        except (OversizeError, UnencodableError) as error:
            return self._too_large(row, part, event, error, is_ahead=is_ahead)
        except BrokerError as error:
            self._interrupt(error)
        self._check_delivery()
        return ()

    def _too_large(
        self, row: FileRow, part: str, event: ConsentEvent, error: Exception, *, is_ahead: bool
    ) -> Sequence[RowFault]:
        if is_ahead:  # the rest of the row reports it
            self._too_large_ahead.add(event.event_id)
            return ()
        fault = violation("", "IZIN-SIZE", what=error)
        return self._refused(row, part, refusal(event.status), fault)

    def _count(self, status: str, *, is_reversal: bool) -> None:
        self.tally.published += 1
        self.tally.opt_outs += status == Status.RET
        self.tally.reversals += is_reversal

    def _delivered(  # noqa: PLR0913, PLR0917  # bound by position, for each event
        self,
        row: FileRow,
        part: str,
        event: ConsentEvent,
        is_reversal: bool,
        is_ahead: bool,
        result: PublishResult,
    ) -> None:
        match result:
            case Published():
                if not is_ahead:
                    self._count(event.status, is_reversal=is_reversal)
            case OversizeError():
                faults = self._too_large(row, part, event, result, is_ahead=is_ahead)
                if faults:
                    self._report.add(row, faults)
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
