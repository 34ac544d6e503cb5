"""Opt-ins (ONAY) of a file that would reverse an opt-out (RET) that stands.

An export that writes its own time on every opt-in makes all of them newer than any refusal. So they
are counted before anything is published, and above a limit nothing is. The count takes a pass of
its own over the file, in which only rows of recipients who opted out are read in full.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from izin.consent.due_dates import TURKEY
from izin.consent.emails import read_email
from izin.consent.errors import SourceError
from izin.consent.model import Status
from izin.consent.phones import read_phone
from izin.consent.texts import clean
from izin.consent.violations import Violation
from izin.producers.files.cells import cell_text
from izin.producers.files.delimited import FileRow
from izin.producers.files.importing.judgement import RowJudge, fits
from izin.producers.files.row_parts import Columns
from izin.producers.mapping.field_values import RECIPIENTS
from izin.producers.mapping.judgement import AcceptedRecord
from izin.producers.mapping.violations import violation
from izin.projections.packed_permissions import whole_seconds
from izin.runtime.masking import mask

_SHOWN: Final = 5


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
    """How many opt-ins of a file may reverse an opt-out."""

    least: int = 100
    percent: float = 1.0
    """Of the file's opt-ins; the limit is the greater of both."""
    accepted: int | None = None
    """A limit in place of that: what a person has looked at."""
    skip: bool = False
    """Publish all others, and report those."""

    def limit(self, opt_ins: int) -> int:
        """Return how many of so many ``opt_ins`` may."""
        if self.accepted is not None:
            return self.accepted
        return max(self.least, int(opt_ins * self.percent / 100))


class Reversal(NamedTuple):
    """An opt-in that would reverse an opt-out."""

    line: int
    recipient: str
    """Masked."""
    opted_out_at: int


class TooManyReversalsError(SourceError):
    """More opt-ins would reverse an opt-out than may; nothing was published."""

    def __init__(
        self, name: str, *, count: int, opt_ins: int, limit: int, first: Iterable[Reversal]
    ) -> None:
        examples = ", ".join(
            f"row {one.line} {one.recipient} (RET of {_day(one.opted_out_at)})" for one in first
        )
        super().__init__(
            f"{name}: {count} of {opt_ins} opt-ins (ONAY) would reverse an opt-out (RET) that "
            f"stands, and {limit} may; nothing was published. {examples}. Does the export write "
            "its own time as the consent's date? Correct it. --skip-reversals publishes all others "
            f"and reports these rows; --reversals {count} publishes these too"
        )
        self.count = count
        self.limit = limit


class ReversalGuard:
    """Finds the opt-ins that would reverse one of ``opt_outs``."""

    def __init__(self, opt_outs: OptOuts, rules: ReversalRules, judge: RowJudge) -> None:
        self._opt_outs = opt_outs
        self._judge = judge
        self.rules = rules

    def reversed_at(self, accepted: AcceptedRecord) -> int | None:
        """Return from which second, since 1970, the opt-out counts that ``accepted`` would reverse;
        None: it reverses none.

        As in the law an opt-out wins over an opt-in of the same second.
        """
        event, key = accepted.event, accepted.key
        if event.status != Status.ONAY or not self._opt_outs.may_have(key.recipient):
            return None
        opted_out_at = self._opt_outs.opted_out_at(key.encode())
        if opted_out_at is None:
            return None
        received_at = self._judge.received_at
        counts_from = received_at if event.consent_date is None else event.consent_date
        return opted_out_at if whole_seconds(min(counts_from, received_at)) > opted_out_at else None

    def check(self, name: str, columns: Columns, read: Callable[[], Iterable[FileRow]]) -> None:
        """Count what the rows of the file called ``name`` would reverse; ``read`` yields them.

        Raises:
            TooManyReversalsError: it is more than may be.
        """
        if not len(self._opt_outs) or self.rules.skip:
            return
        count, first = 0, list[Reversal]()
        for one in self._reversals(columns, read()):
            count += 1
            if count <= _SHOWN:
                first.append(one)
        if count <= self.rules.limit(0):
            return
        opt_ins = sum(
            self._judge.read(part).status == Status.ONAY
            for row in read()
            if fits(row, columns)
            for part in columns.parts(row.fields)
        )
        limit = self.rules.limit(opt_ins)
        if count > limit:
            raise TooManyReversalsError(
                name, count=count, opt_ins=opt_ins, limit=limit, first=first
            )

    def _reversals(self, columns: Columns, rows: Iterable[FileRow]) -> Iterator[Reversal]:
        is_given = bool(RECIPIENTS & columns.given.keys())
        places = [place for held, place in columns.places if held in RECIPIENTS]
        for row in rows:
            if not fits(row, columns):
                continue
            if not is_given and not any(self._may_concern(row.fields[one]) for one in places):
                continue
            for part in columns.parts(row.fields):
                found = self._judge.judge(row, part, self._judge.read(part))
                if isinstance(found, AcceptedRecord):
                    opted_out_at = self.reversed_at(found)
                    if opted_out_at is not None:
                        yield Reversal(row.line, mask(found.key.recipient), opted_out_at)

    def _may_concern(self, cell: str) -> bool:
        """Whether the recipient in ``cell`` may have opted out."""
        text = clean(cell_text(cell))
        found = read_phone(text)
        if isinstance(found, Violation):
            found = read_email(text)
        return not isinstance(found, Violation) and self._opt_outs.may_have(found)


def violation_of(opted_out_at: int) -> Violation:
    """Return why an opt-in that reverses an opt-out is not published."""
    return violation("status", "IZIN-REVERSAL", at=_day(opted_out_at))


def _day(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")
