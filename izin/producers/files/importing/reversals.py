"""Opt-ins (ONAY) of a file that would reverse an opt-out (RET) that stands.

An export that writes its own time on every opt-in makes all of them newer than any refusal. So none
of them is published: each is reported, and a file beside the report lists them. A person looks
through that file and gives it back, or the exact number of them; what is then published has in its
history who did.
"""

from collections.abc import Callable, Iterable, Iterator
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
from izin.producers.files.columns import ColumnChoices
from izin.producers.files.delimited import FileRow
from izin.producers.files.importing.judgement import RowJudge, fits
from izin.producers.files.importing.report_formats import EVENT_COLUMN
from izin.producers.files.row_parts import Columns
from izin.producers.files.table_formats import open_table
from izin.producers.mapping.field_names import RECIPIENTS
from izin.producers.mapping.records import AcceptedRecord
from izin.producers.mapping.violations import violation
from izin.projections.packed_permissions import whole_seconds

GIVEN_BACK: Final = "reversal-of"
"""In the evidence of an opt-in that reverses an opt-out: from when that counted."""


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
