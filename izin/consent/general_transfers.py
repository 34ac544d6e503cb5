"""General transfers (*rehber aktarımı*): until when the consents of before İYS could be registered.

When İYS began, the Ministry of Trade set a day by which every provider had to transfer the consents
that it had, and moved it several times; at last by how many addresses a provider has. A consent
that was given by then had until that day, however old it was; one that was not transferred is
void (Yönetmelik m.7/12), and so is any other that is not registered within three business days
(m.7/11). İYS itself takes older dates until a brand is activated: what it takes is therefore
not always lawful. A consent that İYS holds already was transferred in time.

The dates are data: the next one is a line of ``TRANSFERS``.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from operator import attrgetter

from izin.consent.business_days import TURKEY_CALENDAR, Calendar
from izin.consent.due_dates import TURKEY, term_ends_at
from izin.consent.model import aware

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
        return datetime.combine(self.until, time(23, 59, 59), TURKEY).astimezone(UTC)

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
    found = [one for one in TRANSFERS if one.announced_on <= on and one.is_for(addresses)]
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
    own = term_ends_at(given_at, calendar=calendar)
    transfer = transfer_in_force(addresses, on=aware("now", now).astimezone(TURKEY).date())
    if transfer is None or aware("given_at", given_at) > transfer.ends_at:
        return LawfulTerm(until=own, transfer=None)
    return LawfulTerm(until=max(own, transfer.ends_at), transfer=transfer)
