"""One consent of a row as the law finds it, and whether it would reverse an opt-out that stands.

It is published, or refused with every reason why. An export that writes its own time on every
opt-in makes all of them newer than any refusal. So no opt-in (ONAY) that would reverse an opt-out
(RET) is published: each is reported, and a file beside the report lists them. A person looks
through that file and gives it back, or the exact number of them; what is then published has in its
history who did.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from izin.consent.due_dates import TURKEY
from izin.consent.emails import read_email
from izin.consent.errors import SourceError
from izin.consent.model import ConsentEvent, Status
from izin.consent.phones import read_phone
from izin.consent.texts import clean
from izin.consent.violations import Violation
from izin.producers.files.cells import cell_text
from izin.producers.files.choices import ColumnChoices
from izin.producers.files.columns import Columns, RowPart, resolve
from izin.producers.files.table_formats import EVENT_COLUMN, open_table, without_added
from izin.producers.files.tables import FileRow
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import RECIPIENTS, Field
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
from izin.producers.mapping.violations import violation
from izin.producers.publishing.event_ids import FileIds
from izin.projections.brand_directory import (
    BrandDirectory,
    StoppedBrandError,
    UnknownBrandError,
)
from izin.projections.packed_permissions import whole_seconds

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

    def read(self, part: RowPart) -> MappedRecord:
        """Return what ``part`` says."""
        return read(part.values, self.dates)

    def judge(
        self, row: FileRow, part: RowPart, record: MappedRecord
    ) -> AcceptedRecord | RefusedRecord:
        """Return what becomes of ``record``, which a ``part`` of ``row`` says."""
        origin = EventOrigin(
            event_id=self.ids.of(row.line, part.name),
            origin=self.origin,
            received_at=self.received_at,
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


def fits(row: FileRow, columns: Columns) -> bool:
    """Whether the fields of ``row`` can be assigned to ``columns``, and are not their names."""
    return fault_of(row, columns) is None and not columns.is_header(row.fields)


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
    return _given(columns) or {one.brand_code for one in directory}


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


class NoOptOuts:
    """None stands, or nobody asks."""

    def __len__(self) -> int:
        return 0

    def may_have(self, recipient: str) -> bool:  # noqa: ARG002  # whoever it is
        """Return False."""
        return False

    def opted_out_at(self, key: bytes) -> int | None:  # noqa: ARG002  # whatever it is
        """Return None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalRules:
    """Which opt-ins of a file may reverse an opt-out: none that nobody has given back."""

    event_ids: frozenset[str] = frozenset()
    """Those of a file that was looked through."""
    count: int | None = None
    """All, if there are exactly so many."""
    by: str = ""
    """Who gave them back."""


class NoReversalsError(SourceError):
    """A file that should list reversals, and does not."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f'{path.name} has no column "{EVENT_COLUMN}"; give the file back that an import wrote '
            "beside its report, or their number"
        )


def read_reversals(path: Path) -> frozenset[str]:
    """Return the ids of the events that the file at ``path`` gives back.

    Raises:
        SourceError: it is no list of reversals.
    """
    table = open_table(path, ColumnChoices(), first_sheet=True)
    if EVENT_COLUMN not in table.headers:
        raise NoReversalsError(path)
    place = table.headers.index(EVENT_COLUMN)
    rows = (row.fields[place] for row in table.rows() if row.fault is None)
    return frozenset(one for cell in rows for one in cell_text(cell).replace(",", " ").split())


class ReversalGuard:
    """Finds the opt-ins that would reverse one of ``opt_outs``."""

    def __init__(self, opt_outs: OptOuts, rules: ReversalRules, judge: RowJudge) -> None:
        self.opt_outs = opt_outs
        self._judge = judge
        self._rules = rules
        self._own = set[tuple[bytes, int]]()
        self.accepts_all = False
        """Whether there are exactly as many as were accepted."""

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
        event, key = accepted.event, accepted.key
        if event.status != Status.ONAY or not self.opt_outs.may_have(key.recipient):
            return None
        opted_out_at = self.opt_outs.opted_out_at(key.encode())
        if opted_out_at is None or (key.encode(), opted_out_at) in self._own:
            return None
        return opted_out_at if whole_seconds(accepted.effective_at) > opted_out_at else None

    def given_back(self, event: ConsentEvent, opted_out_at: int) -> ConsentEvent | None:
        """Return ``event``, which reverses an opt-out, with who has given it back; None: nobody."""
        rules = self._rules
        if not self.accepts_all and event.event_id not in rules.event_ids:
            return None
        evidence = {**event.evidence, GIVEN_BACK: _day(opted_out_at)}
        if event.actor:
            evidence["actor"] = event.actor
        return replace(event, actor=rules.by, evidence=evidence)

    def has_exactly(self, columns: Columns, read: Callable[[], Iterable[FileRow]]) -> bool:
        """Whether the rows that ``read`` yields would reverse exactly as many as were accepted."""
        count = self._rules.count
        return count is not None and count == sum(1 for _ in self._reversals(columns, read()))

    def _reversals(self, columns: Columns, rows: Iterable[FileRow]) -> Iterator[AcceptedRecord]:
        is_given = bool(RECIPIENTS & columns.given.keys())
        places = [place for held, place in columns.places if held in RECIPIENTS]
        for row in rows:
            if not fits(row, columns):
                continue
            if not is_given and not any(self._may_concern(row.fields[one]) for one in places):
                continue
            for part in columns.parts(row.fields):
                found = self._judge.judge(row, part, self._judge.read(part))
                if isinstance(found, AcceptedRecord) and self.reversed_at(found) is not None:
                    yield found

    def _may_concern(self, cell: str) -> bool:
        """Whether the recipient in ``cell`` may have opted out."""
        text = clean(cell_text(cell))
        found = read_phone(text)
        if isinstance(found, Violation):
            found = read_email(text)
        return not isinstance(found, Violation) and self.opt_outs.may_have(found)


def violation_of(opted_out_at: int) -> Violation:
    """Return why an opt-in that reverses an opt-out is not published."""
    return violation("status", "IZIN-REVERSAL", at=_day(opted_out_at))


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
