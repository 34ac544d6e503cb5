"""Which opt-ins of a file are lawful to publish: the same for what-if and import.

İYS takes older dates until a brand is activated; the law does not know that exception. An opt-in is
published while its lawful term runs (``consent.due_dates``), or where İYS is known to hold
ONAY of its key: it was registered in time then. Any other is reported, and never published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import cast

from izin.consent.admission import admit
from izin.consent.business_days import TURKEY_CALENDAR, Calendar
from izin.consent.due_dates import TURKEY, BrandTerms, LawfulTerm, due_at, lawful_term, taken_until
from izin.consent.model import AdmittedEvent, Status
from izin.consent.violations import Violation
from izin.onboarding.address_book import AddressBook
from izin.producers.mapping.records import AcceptedRecord
from izin.producers.mapping.violations import violation
from izin.projections.brand_directory import BrandDirectory

_DAY = 24 * 60 * 60
_TURKEY = 3 * 60 * 60
"""Seconds ahead of UTC."""


@dataclass(frozen=True, kw_only=True)
class BookReview:
    """Notes in the book what would be published, and lets it all pass: for a first look."""

    book: AddressBook
    directory: BrandDirectory
    now: datetime
    calendar: Calendar = TURKEY_CALENDAR

    def __call__(self, accepted: AcceptedRecord) -> tuple[Violation, ...]:
        """Note ``accepted``."""
        one = admitted(accepted)
        terms, calendar = self._terms[one.key.brand_code], self.calendar
        due = due_at(one.effective_at, terms, now=self.now, calendar=calendar)
        is_ret = one.status is Status.RET
        ends = taken_until(one.effective_at, terms, now=self.now, calendar=calendar)
        self.book.add(one, due_at=due, expires_at=None if is_ret else ends)
        return ()

    @cached_property
    def _terms(self) -> Mapping[int, BrandTerms]:
        return {
            one.brand_code: BrandTerms(
                activated_at=one.activated_at, loading_deadline=one.loading_deadline
            )
            for one in self.directory
        }


@dataclass(frozen=True, kw_only=True)
class LawfulReview:
    """Lets the opt-ins pass that are lawful at an instant."""

    book: AddressBook
    now: datetime
    addresses: Mapping[int, int] = field(default_factory=dict)
    """How many its provider has, by brand."""
    calendar: Calendar = TURKEY_CALENDAR
    _known: dict[tuple[int, int], LawfulTerm] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """By day and addresses: a term is the same for all of a day."""

    def __call__(self, accepted: AcceptedRecord) -> tuple[Violation, ...]:
        """Return why an opt-in is not published."""
        if accepted.event.status == Status.RET:
            return ()
        one = admitted(accepted)
        term = self.term(int(one.effective_at.timestamp()), one.key.brand_code)
        if not term.is_over(self.now) or self.book.holds_onay(one.key):
            return ()
        code = "IZIN-VOID" if term.transfer is None else "IZIN-TRANSFER-ENDED"
        ended = f"{term.until.astimezone(TURKEY):%d.%m.%Y}"
        return (violation("consent_date", code, ended=ended),)

    def term(self, at: int, brand_code: int) -> LawfulTerm:
        """Return the lawful term of an opt-in that was given ``at`` (seconds since 1970)."""
        day, addresses = (at + _TURKEY) // _DAY, self.addresses.get(brand_code, 0)
        found = self._known.get((day, addresses))
        if found is None:
            given_at = datetime.fromtimestamp(day * _DAY - _TURKEY, UTC)
            found = lawful_term(given_at, addresses=addresses, now=self.now, calendar=self.calendar)
            self._known[day, addresses] = found
        return found

    def lawful_until(self, at: int, brand_code: int) -> int:
        """Return the end of that term, in seconds since 1970."""
        return int(self.term(at, brand_code).until.timestamp())

    def is_transferable(self, at: int, brand_code: int) -> bool:
        """Whether a general transfer covers it."""
        return self.term(at, brand_code).transfer is not None


def admitted(accepted: AcceptedRecord) -> AdmittedEvent:
    """Return a record that would be published as the order stage admits it."""
    event = accepted.event
    # It was admitted before, and is so again unchanged (docs/law.md).
    return cast(AdmittedEvent, admit(event, appended_at=cast(datetime, event.received_at)))
