"""Three business days: Yönetmelik m.7/11 (consents) and m.9/6 (rejections); İYS's H467.

How İYS itself counts is not published, so there are two readings of the third business day:

- ``due_at``, strict: the same time of day, or 13:00 if that is a half day. It drives the
  order of submission and alerts.
- ``expires_at``, lenient: the end of that day. After it an ONAY is no longer submitted, for by
  m.7/12 a consent that was not registered in time is invalid and a new one is needed.

An event on a day that is no business day counts as if it had occurred at the end of that day. So
both readings are monotone: a later event is never due earlier.

A RET is due but never expires: nothing makes an opt-out invalid.

H467 applies from the brand's activation at İYS. Before it, historic consents are loaded (*rehber
aktarımı*), until the brand's loading deadline or, at the latest, its activation. İYS takes them
then whatever their age; the law does not: a consent expires with its lawful term (below) also in
that period. So the loading deadline only moves when an opt-out is due, and never makes a consent
live longer.

When İYS began, the Ministry of Trade set a day by which every provider had to transfer the consents
that it had, a *general transfer* (rehber aktarımı), and moved it several times; at last by how many
addresses a provider has. A consent that was given by then had until that day, however old it was;
one that was not transferred is void. İYS itself takes older dates until a brand is activated: what
it takes is therefore not always lawful. A consent that İYS holds was transferred in time. The dates
are data: the next one is a line of ``TRANSFERS``.

Instants are UTC outside this module. Turkey has kept UTC+3 all year since September 2016, and İYS
began in 2020, so the zone is a fixed offset and needs no time zone database. An event before the
calendar begins counts as one on its first day: 6563 is of 2015, and such a term has long ended. An
event after the calendar ends raises OutsideCalendarError.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from izin.consent.business_days import (
    FIRST_YEAR,
    TURKEY_CALENDAR,
    Calendar,
    add_business_days,
    is_business_day,
    is_half_day,
)
from izin.consent.model import Status, aware

TURKEY = timezone(timedelta(hours=3), "Europe/Istanbul")

TERM_DAYS = 3
_HALF_DAY_ENDS = time(13, 0)
_DAY_ENDS = time(23, 59, 59)
"""Terms have whole seconds."""
_CALENDAR_BEGINS = datetime(FIRST_YEAR, 1, 1, tzinfo=TURKEY).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrandTerms:
    """When the three-day rule begins for a brand, and until when old consents may be loaded."""

    activated_at: datetime | None = None
    """None: İYS has not activated the brand yet."""
    loading_deadline: datetime | None = None

    def __post_init__(self) -> None:
        if self.activated_at is not None:
            aware("activated_at", self.activated_at)
        if self.loading_deadline is not None:
            aware("loading_deadline", self.loading_deadline)

    def is_active(self, now: datetime | None) -> bool:
        """Whether the brand is activated; ``now`` None: a known activation has happened."""
        return self.activated_at is not None and (
            now is None or aware("now", now) >= self.activated_at
        )


def due_at(
    effective_at: datetime,
    brand: BrandTerms,
    *,
    now: datetime | None = None,
    calendar: Calendar = TURKEY_CALENDAR,
) -> datetime | None:
    """Return by when an event of ``effective_at`` must be registered; None: no deadline.

    ``now`` decides whether the brand is active yet; None: a known activation has happened.

    Raises:
        OutsideCalendarError: the term lies beyond the calendar.
    """
    return _bound(brand, now, _term_of(effective_at, calendar).due_at(effective_at))


def expires_at(
    effective_at: datetime,
    brand: BrandTerms,
    *,
    status: Status = Status.ONAY,
    now: datetime | None = None,
    calendar: Calendar = TURKEY_CALENDAR,
) -> datetime | None:
    """Return the last instant at which an event may be submitted; None: it never expires.

    Raises:
        OutsideCalendarError: the term lies beyond the calendar.
    """
    if status is Status.RET:
        return None
    return _expiry(effective_at, _term_of(effective_at, calendar).ends_at, brand, now)


def taken_until(
    effective_at: datetime,
    brand: BrandTerms,
    *,
    now: datetime,
    calendar: Calendar = TURKEY_CALENDAR,
) -> datetime | None:
    """Return until when İYS takes a consent, which is not always lawful; None: without an end.

    Raises:
        OutsideCalendarError: the term lies beyond the calendar.
    """
    return _bound(brand, now, _term_of(effective_at, calendar).ends_at)


def term_ends_at(effective_at: datetime, *, calendar: Calendar = TURKEY_CALENDAR) -> datetime:
    """Return the end of the third business day, whether the brand is in its first loading or not.

    Raises:
        OutsideCalendarError: the term lies beyond the calendar.
    """
    return _term_of(effective_at, calendar).ends_at


def due_and_expiry(
    effective_at: datetime,
    brand: BrandTerms,
    *,
    status: Status,
    now: datetime,
    calendar: Calendar = TURKEY_CALENDAR,
) -> tuple[datetime | None, datetime | None]:
    """Return ``due_at`` and ``expires_at`` of an event, computed together."""
    term = _term_of(effective_at, calendar)
    due = _bound(brand, now, term.due_at(effective_at))
    if status is Status.RET:
        return due, None
    expiry = _expiry(effective_at, term.ends_at, brand, now)
    return expiry if due is None else min(due, expiry), expiry


class _Term(NamedTuple):
    """The term of the events of one day in Turkey."""

    length: timedelta | None
    """From an event to the same time of the last day; None: they count from the end of theirs."""
    due_by: datetime
    """When the last of them is due: at 13:00 of a half day."""
    ends_at: datetime
    """The end of the last day."""

    def due_at(self, effective_at: datetime) -> datetime:
        """Return when an event of that day is due."""
        if self.length is None:
            return self.due_by
        return min(max(effective_at, _CALENDAR_BEGINS) + self.length, self.due_by)


def _term_of(effective_at: datetime, calendar: Calendar) -> _Term:
    moment = max(aware("effective_at", effective_at), _CALENDAR_BEGINS)
    return _term_of_day(moment.astimezone(TURKEY).date(), calendar)


@lru_cache(maxsize=4096)
def _term_of_day(day: date, calendar: Calendar) -> _Term:
    last_day = add_business_days(day, TERM_DAYS, calendar)
    due_by = _HALF_DAY_ENDS if is_half_day(last_day) else _DAY_ENDS
    return _Term(
        last_day - day if is_business_day(day, calendar) else None,
        datetime.combine(last_day, due_by, TURKEY).astimezone(UTC),
        _end(last_day),
    )


def _end(day: date) -> datetime:
    return datetime.combine(day, _DAY_ENDS, TURKEY).astimezone(UTC)


def _bound(brand: BrandTerms, now: datetime | None, term_ends: datetime) -> datetime | None:
    """Return the end of a term with the brand's activation and loading deadline applied."""
    if brand.is_active(now):
        return term_ends.astimezone(UTC)
    load_by = [one for one in (brand.loading_deadline, brand.activated_at) if one is not None]
    return max(term_ends, min(load_by)).astimezone(UTC) if load_by else None


def _expiry(given_at: datetime, own: datetime, brand: BrandTerms, now: datetime | None) -> datetime:
    """Return when a consent expires: with its three business days, or with its lawful term as long
    as İYS would take it later, before the brand is activated.
    """
    if brand.is_active(now):
        return own
    return _lawful(given_at, own, addresses=0, on=date.max if now is None else _day(now)).until


THRESHOLD = 150_000
"""Addresses of a provider: above it the last general transfer ended five months earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralTransfer:
    """A day by which consents had to be transferred, and for providers of which size."""

    announced_on: date
    until: date
    """Its last day, in Turkey."""
    above: int = -1
    """For providers with more addresses than this."""
    up_to: int | None = None
    """And at most so many; None: however many."""
    source: str

    @property
    def ends_at(self) -> datetime:
        """The end of its last day."""
        return _end(self.until)

    def is_for(self, addresses: int) -> bool:
        """Whether it is for a provider of so many addresses."""
        return addresses > self.above and (self.up_to is None or addresses <= self.up_to)


_MINISTRY = "Ministry of Trade, announcement of"
TRANSFERS = (
    GeneralTransfer(
        announced_on=date(2020, 1, 4),
        until=date(2020, 6, 1),
        source="Yönetmelik as of RG 4.1.2020/30998",
    ),
    GeneralTransfer(
        announced_on=date(2020, 5, 23),
        until=date(2020, 8, 31),
        source=f"{_MINISTRY} 23.5.2020",
    ),
    GeneralTransfer(
        announced_on=date(2020, 8, 28),
        until=date(2020, 12, 1),
        source="Yönetmelik as of RG 28.8.2020/31227",
    ),
    GeneralTransfer(
        announced_on=date(2020, 11, 30),
        until=date(2020, 12, 31),
        above=THRESHOLD,
        source=f"{_MINISTRY} 30.11.2020",
    ),
    GeneralTransfer(
        announced_on=date(2020, 11, 30),
        until=date(2021, 5, 31),
        up_to=THRESHOLD,
        source=f"{_MINISTRY} 30.11.2020",
    ),
)
"""Each with its source, in the order of their announcement; a later one replaces those before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LawfulTerm:
    """Until when a consent may lawfully be registered, whatever İYS takes."""

    until: datetime
    transfer: GeneralTransfer | None
    """The general transfer that covers it; None: its own three business days alone."""

    def is_over(self, now: datetime) -> bool:
        """Whether the consent is void unless İYS holds it."""
        return aware("now", now) > self.until


def transfer_in_force(addresses: int, *, on: date) -> GeneralTransfer | None:
    """Return the general transfer that was in force on a day for a provider of so many addresses;
    None: there was none yet.
    """
    found = [
        transfer
        for transfer in TRANSFERS
        if transfer.announced_on <= on and transfer.is_for(addresses)
    ]
    return max(found, key=attrgetter("announced_on"), default=None)


def lawful_term(
    given_at: datetime,
    *,
    addresses: int,
    now: datetime,
    calendar: Calendar = TURKEY_CALENDAR,
) -> LawfulTerm:
    """Return until when a consent of ``given_at`` may be registered, as of ``now``.

    ``addresses``: how many the provider has. An opt-out has no such term, for it never expires.

    Raises:
        OutsideCalendarError: the term lies beyond the calendar.
    """
    return _lawful(
        given_at, term_ends_at(given_at, calendar=calendar), addresses=addresses, on=_day(now)
    )


def _day(now: datetime) -> date:
    return aware("now", now).astimezone(TURKEY).date()


def _lawful(given_at: datetime, own: datetime, *, addresses: int, on: date) -> LawfulTerm:
    """Return the lawful term of a consent whose ``own`` term ends then, as of a day."""
    transfer = transfer_in_force(addresses, on=on)
    if transfer is None or aware("given_at", given_at) > transfer.ends_at:
        return LawfulTerm(until=own, transfer=None)
    return LawfulTerm(until=max(own, transfer.ends_at), transfer=transfer)
