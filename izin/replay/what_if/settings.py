"""What of the law an installation sets, and a what-if varies: its calendar and the terms of its
brands.

How fresh İYS's data must be is set too, but the history does not say when İYS was pulled, so no
other bound can be judged by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple, Self

from izin.consent.business_days import Calendar
from izin.consent.due_dates import BrandTerms, due_and_expiry
from izin.consent.model import Status
from izin.consent.recorded import instant

A_SECOND = timedelta(seconds=1)
"""Terms have whole seconds."""
_NO_TERMS = BrandTerms()


class Term(NamedTuple):
    """The term of one event, whenever it is looked at."""

    due_at: datetime | None
    """None: it has no deadline."""
    lapses_at: datetime | None
    """The first instant at which it is too late to register a consent; None: it never is."""


class KeyLaw(NamedTuple):
    """The settings by which one key is judged."""

    calendar: Calendar
    terms: BrandTerms

    def term(self, effective_at: datetime, status: Status) -> Term:
        """Return the term of an event over all time: before the activation of its brand it is
        another than after.

        Raises:
            OutsideCalendarError: the term lies beyond the calendar.
        """
        return _term(self, effective_at, status)


@lru_cache(maxsize=4096)
def _term(law: KeyLaw, effective_at: datetime, status: Status) -> Term:
    activated_at = law.terms.activated_at
    counted = partial(due_and_expiry, effective_at, law.terms, status=status, calendar=law.calendar)
    due, expires = counted(now=activated_at or effective_at)
    if activated_at is not None and effective_at < activated_at:
        due_before, expires_before = counted(now=activated_at - A_SECOND)
        due = _over(due_before, due, activated_at)
        expires = _over(expires_before, expires, activated_at)
    return Term(due, None if expires is None else expires + A_SECOND)


@dataclass(frozen=True, kw_only=True)
class LawSettings:
    """The settings of an installation. Without slots, for the calendar is made once."""

    closed_days: frozenset[date] = frozenset()
    """Besides the public holidays."""
    terms: Mapping[int, BrandTerms]
    """By brand."""

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with the closed days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=self.closed_days)

    def of(self, brand_code: int) -> KeyLaw:
        """Return the settings for a key of this brand."""
        return KeyLaw(calendar=self.calendar, terms=self.terms.get(brand_code, _NO_TERMS))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, sorted."""
        return {
            "closed_days": [day.isoformat() for day in sorted(self.closed_days)],
            "terms": {
                str(code): [_text(one.activated_at), _text(one.loading_deadline)]
                for code, one in sorted(self.terms.items())
            },
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``as_json`` made."""
        return cls(
            closed_days=frozenset(map(date.fromisoformat, values["closed_days"])),
            terms={
                int(code): BrandTerms(
                    activated_at=instant(activated), loading_deadline=instant(loading)
                )
                for code, (activated, loading) in values["terms"].items()
            },
        )


def differing(before: LawSettings, after: LawSettings) -> list[str]:
    """Return in words what differs between two settings."""
    found = [f"closed: {day}" for day in sorted(after.closed_days - before.closed_days)]
    found += [f"open: {day}" for day in sorted(before.closed_days - after.closed_days)]
    for code, terms in sorted(after.terms.items()):
        known = before.terms.get(code, _NO_TERMS)
        found += [
            f"brand {code}: {name.replace('_', ' ')} {_text(new) or 'none'}"
            for name in ("activated_at", "loading_deadline")
            if (new := getattr(terms, name)) != getattr(known, name)
        ]
    return found


def _over(
    before: datetime | None, after: datetime | None, activated_at: datetime
) -> datetime | None:
    """Return when a term ends that ends at ``before`` until the activation, and at ``after`` from
    then on.
    """
    if before is None or after is None or before < activated_at:
        return before
    return max(after, activated_at - A_SECOND)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
