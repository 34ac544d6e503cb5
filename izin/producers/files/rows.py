"""One import in progress: each row is published, or reported, and counted.

The opt-outs of all rows go first. A row that is one alone is done with then; where a row says more,
with a column a channel, the rest of it comes with the others, and all of it is reported then.

An export that writes its own time on every opt-in makes all of them newer than any refusal. So no
opt-in (ONAY) that would reverse an opt-out (RET) is published: each is reported, and a file beside
the report lists them. A person looks through that file and gives it back; what is then published
has in its history who did.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, Protocol, assert_never

from izin.consent import TURKEY, ConsentEvent, Status, Violation
from izin.kafka.tables.brand_directory import (
    BrandDirectory,
    StoppedBrandError,
    UnknownBrandError,
)
from izin.kafka.tables.packed_permissions import whole_seconds
from izin.producers.files.report import (
    ReportRows,
    RowFault,
    RowOutcome,
    Tally,
    inseparable,
    refusal,
)
from izin.producers.files.table_formats import EVENT_COLUMN, open_table, without_added
from izin.producers.files.tables import FileRow, UnusableFileError
from izin.producers.mapping.cells import cell_text
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.columns import Columns, RowPart, resolve
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field, violation
from izin.producers.mapping.records import (
    AcceptedRecord,
    EventOrigin,
    MappedRecord,
    RefusedRecord,
    Review,
    read,
    reviewed,
    validate,
)
from izin.producers.publishing.delivery_errors import OversizeError, UndeliveredError
from izin.producers.publishing.event_ids import FileIds
from izin.producers.publishing.publisher import (
    KafkaPublisher,
    Published,
    PublishResult,
    UnencodableError,
)
from izin.runtime.errors import BrokerError

_FLUSH_TIMEOUT = timedelta(seconds=90)
GIVEN_BACK: Final = "reversal-of"
"""In the evidence of an opt-in that reverses an opt-out: from when that counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJudge:
    """What is the same for all rows of an import."""

    directory: BrandDirectory
    dates: DateRules
    origin: str
    ids: FileIds
    digest: str
    """SHA-256 of the file."""
    received_at: datetime
    review: Review
    first_received_at: datetime | None = None
    """When the file was received whose rows are corrected; None: they are of the file itself."""

    def read(self, part: RowPart) -> MappedRecord:
        """Return what ``part`` says."""
        return read(part.values, self.dates)

    def judge(
        self, row: FileRow, part: RowPart, record: MappedRecord
    ) -> AcceptedRecord | RefusedRecord:
        """Return what becomes of ``record``, which a ``part`` of ``row`` says."""
        first, received_at = self.first_received_at, self.received_at
        # What a correction leaves as it was stays the event that it was. A date from after the
        # first receipt is of a consent that was given since.
        if first is not None and (record.consent_date is None or record.consent_date <= first):
            received_at = first
        origin = EventOrigin(
            event_id=self.ids.of(row.line, part.name),
            origin=self.origin,
            received_at=received_at,
            import_id=self.digest,
            row=row.line,
        )
        found = reviewed(validate(record, self.directory, origin), self.review)
        brand = self.directory.find(record.brand_code or 0)
        if brand is None or not brand.is_stopped or isinstance(found, RefusedRecord):
            return found
        why = violation("brand_code", "IZIN-BRAND-STOPPED", brand=brand.brand_code)
        return RefusedRecord(violations=(why,))


def fault_of(row: FileRow, columns: Columns) -> Violation | None:
    """Return why the fields of ``row`` cannot be assigned to ``columns``; None: they can."""
    width = len(columns.headers)
    if row.fault is None and len(row.fields) == width:
        return None
    what = row.fault or f"has {len(row.fields)} fields where the header has {width}"
    return violation("", "IZIN-ROW", what=what, width=width)


def columns_of(
    headers: Sequence[str], choices: ColumnChoices, directory: BrandDirectory
) -> Columns:
    """Return what the columns named ``headers`` hold; those that a report has added are left out.

    Raises:
        ColumnsError: their fields are not known.
        UnknownBrandError: the brand given for all rows is not registered.
        StoppedBrandError: nothing more is done for it.
    """
    columns = resolve(headers, without_added(choices, headers))
    for code in _given(columns):
        if directory.get(code).is_stopped:
            raise StoppedBrandError(code)
    return columns


def brands_of(columns: Columns, directory: BrandDirectory) -> Collection[int]:
    """Return the codes of the brands that rows may name: the one given for all, or any."""
    return _given(columns) or {brand.brand_code for brand in directory}


def _given(columns: Columns) -> Collection[int]:
    text = columns.given.get(Field.BRAND_CODE)
    if text is None:
        return ()
    code = read(columns.given, DateRules()).brand_code
    if code is None:
        raise UnknownBrandError(text)
    return (code,)


class OptOuts(Protocol):
    """The opt-outs that stand."""

    def __len__(self) -> int:
        """Return how many there are."""

    def may_have(self, recipient: str) -> bool:
        """Whether one may stand for ``recipient``, normalised; False: none does for any key."""

    def opted_out_at(self, key: bytes) -> int | None:
        """Return from which second, since 1970, the opt-out of the canonical ``key`` counts; None:
        none stands.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalRules:
    """Which opt-ins of a file may reverse an opt-out: none that nobody has given back."""

    event_ids: frozenset[str] = frozenset()
    """Those of a file that was looked through."""
    by: str = ""
    """Who gave them back."""


def read_reversals(path: Path) -> frozenset[str]:
    """Return the ids of the events that the file at ``path`` gives back.

    Raises:
        SourceError: it is no list of reversals.
    """
    table = open_table(path, ColumnChoices(), first_sheet=True)
    if EVENT_COLUMN not in table.headers:
        raise UnusableFileError(
            path,
            f'it has no column "{EVENT_COLUMN}"; give the file back that an import wrote beside '
            "its report",
        )
    place = table.headers.index(EVENT_COLUMN)
    rows = (row.fields[place] for row in table.rows() if row.fault is None)
    return frozenset(one for cell in rows for one in cell_text(cell).replace(",", " ").split())


class ReversalGuard:
    """Finds the opt-ins that would reverse one of ``opt_outs``; without these there are none."""

    def __init__(self, opt_outs: OptOuts | None, rules: ReversalRules) -> None:
        self.opt_outs = opt_outs
        self._rules = rules
        self._own = set[tuple[bytes, int]]()

    def own(self, accepted: AcceptedRecord) -> None:
        """Note that the opt-out ``accepted`` is of the file itself: an import that stopped has
        published it, and what the file says after it is no reversal.
        """
        self._own.add((accepted.key.encode(), whole_seconds(accepted.effective_at)))

    def reversed_at(self, accepted: AcceptedRecord) -> int | None:
        """Return from which second, since 1970, the opt-out counts that ``accepted`` would reverse;
        None: it reverses none.

        As in the law an opt-out wins over an opt-in of the same second.
        """
        opted_out, key = self.opt_outs, accepted.key
        if opted_out is None or accepted.event.status != Status.ONAY:
            return None
        if not opted_out.may_have(key.recipient):
            return None
        opted_out_at = opted_out.opted_out_at(key.encode())
        if opted_out_at is None or (key.encode(), opted_out_at) in self._own:
            return None
        return opted_out_at if whole_seconds(accepted.effective_at) > opted_out_at else None

    def given_back(self, event: ConsentEvent, opted_out_at: int) -> ConsentEvent | None:
        """Return ``event``, which reverses an opt-out, with who has given it back; None: nobody."""
        if event.event_id not in self._rules.event_ids:
            return None
        evidence = {**event.evidence, GIVEN_BACK: _day(opted_out_at)}
        if event.actor:
            evidence["actor"] = event.actor
        return replace(event, actor=self._rules.by, evidence=evidence)


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")


class ImportInterruptedError(BrokerError):
    """The broker became unreachable during an import."""

    def __init__(self, path: Path, published: int, error: BrokerError) -> None:
        super().__init__(
            f"{path.name}: interrupted after {published} acknowledged rows: {error}; "
            "import the file again when Kafka is back, for its events keep their ids"
        )


class ImportRun:
    """Takes the rows of a file, in their order."""

    def __init__(  # noqa: PLR0913  # by keyword, constructed in one place
        self,
        *,
        path: Path,
        columns: Columns,
        judge: RowJudge,
        guard: ReversalGuard,
        publisher: KafkaPublisher | None,
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
                fault = violation("status", "IZIN-REVERSAL", at=_day(reversed_at))
                event_id = accepted.event.event_id
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
