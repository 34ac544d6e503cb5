"""What of the law an installation sets: its calendar, the terms of its brands, and the gate's rules
for merchants.

How fresh İYS's data must be is set too, but the history does not say when İYS was pulled, so no
other bound can be judged by it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple, Self

from izin.consent.business_days import Calendar
from izin.consent.due_dates import BrandTerms, due_and_expiry
from izin.consent.model import Status

A_SECOND = timedelta(seconds=1)
"""Terms have whole seconds."""
_NO_TERMS = BrandTerms()


class Term(NamedTuple):
    """The term of one event, whenever it is looked at."""

    due_at: datetime | None
    """None: it has no deadline."""
    lapses_at: datetime | None
    """The first instant at which it is too late to register a consent; None: it never is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLaw:
    """The settings by which one key is judged."""

    calendar: Calendar
    terms: BrandTerms
    is_apart: bool
    """Whether an opt-out as BIREYSEL leaves the address open as TACIR."""
    needs_registration: bool
    """Whether a merchant must stand in İYS before anything is sent."""
    _known: dict[tuple[datetime, Status], Term] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """The terms that were counted: a key asks for few, and for each again and again."""

    def term(self, effective_at: datetime, status: Status) -> Term:
        """Return the term of an event over all time: before the activation of its brand it is
        another than after.

        Raises:
            OutsideCalendarError: the term lies beyond the calendar.
        """
        asked = effective_at, status
        found = self._known.get(asked)
        if found is None:
            found = self._known[asked] = self._term(effective_at, status)
        return found

    def _term(self, effective_at: datetime, status: Status) -> Term:
        activated_at = self.terms.activated_at
        due, expires = self._counted(effective_at, status, activated_at or effective_at)
        if activated_at is not None and effective_at < activated_at:
            before = self._counted(effective_at, status, activated_at - A_SECOND)
            due = _over(before[0], due, activated_at)
            expires = _over(before[1], expires, activated_at)
        return Term(due, None if expires is None else expires + A_SECOND)

    def _counted(
        self, effective_at: datetime, status: Status, now: datetime
    ) -> tuple[datetime | None, datetime | None]:
        return due_and_expiry(
            effective_at, self.terms, status=status, now=now, calendar=self.calendar
        )


@dataclass(frozen=True, kw_only=True)
class LawSettings:
    """The settings of an installation. Without slots, for the calendar is made once."""

    closed_days: frozenset[date] = frozenset()
    """Besides the public holidays."""
    terms: Mapping[int, BrandTerms]
    """By brand."""
    merchants_apart: frozenset[str] = frozenset()
    """Customers."""
    unregistered_merchants: frozenset[str] = frozenset()
    """Customers."""

    @cached_property
    def calendar(self) -> Calendar:
        """Turkey's calendar with the closed days; raises OutsideCalendarError."""
        return Calendar(extra_closed_days=self.closed_days)

    def of(self, brand_code: int, customer_id: str) -> KeyLaw:
        """Return the settings for a key of this brand, which is the customer's."""
        return KeyLaw(
            calendar=self.calendar,
            terms=self.terms.get(brand_code, _NO_TERMS),
            is_apart=customer_id in self.merchants_apart,
            needs_registration=customer_id not in self.unregistered_merchants,
        )

    def within(self, customers: Mapping[int, str]) -> Self:
        """Return the settings of these brands and of whose they are alone, by brand."""
        owners = frozenset(customers.values())
        return replace(
            self,
            terms={code: one for code, one in self.terms.items() if code in customers},
            merchants_apart=owners & self.merchants_apart,
            unregistered_merchants=owners & self.unregistered_merchants,
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, sorted."""
        return {
            "closed_days": [day.isoformat() for day in sorted(self.closed_days)],
            "terms": {
                str(code): [_text(one.activated_at), _text(one.loading_deadline)]
                for code, one in sorted(self.terms.items())
            },
            "merchants_apart": sorted(self.merchants_apart),
            "unregistered_merchants": sorted(self.unregistered_merchants),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``as_json`` made."""
        return cls(
            closed_days=frozenset(map(date.fromisoformat, values["closed_days"])),
            terms={int(code): _terms(*given) for code, given in values["terms"].items()},
            merchants_apart=frozenset(values["merchants_apart"]),
            unregistered_merchants=frozenset(values["unregistered_merchants"]),
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
    found += _customers("merchants apart", before.merchants_apart, after.merchants_apart)
    found += _customers(
        "merchants need no registration",
        before.unregistered_merchants,
        after.unregistered_merchants,
    )
    return found


def _customers(what: str, before: frozenset[str], after: frozenset[str]) -> Iterable[str]:
    yield from (f"{what}: {one}" for one in sorted(after - before))
    yield from (f"no longer {what}: {one}" for one in sorted(before - after))


def _over(
    before: datetime | None, after: datetime | None, activated_at: datetime
) -> datetime | None:
    """Return when a term ends that ends at ``before`` until the activation, and at ``after`` from
    then on.
    """
    if before is None or after is None or before < activated_at:
        return before
    return max(after, activated_at - A_SECOND)


def _terms(*given: str | None) -> BrandTerms:
    activated_at, loading_deadline = (
        None if one is None else datetime.fromisoformat(one) for one in given
    )
    return BrandTerms(activated_at=activated_at, loading_deadline=loading_deadline)


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
