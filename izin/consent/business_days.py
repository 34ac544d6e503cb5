"""Business days (*iş günü*) in Turkey, by Law 2429 on national days and general holidays.

Saturdays, Sundays and whole holidays do not count. Half days do (28 October and the eves of both
bayrams, free from 13:00): İYS's documents do not exclude them, and counting them gives the earlier,
safe date. Labour Day counts among the holidays since 2009 (Law 5892), 15 July since
2017 (Law 6752 of October 2016).

Administrative leave (*idari izin*) binds the public sector only, so it is not a holiday by
itself; an operator can close further days with :class:`Calendar`.

The dates of the bayrams come from the ``holidays`` package. They are known for 2015 to 2035, the
last three years by calculation only, for Diyanet announces them later. A day of any other year
raises OutsideCalendarError.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import holidays

from izin.consent.errors import OutsideCalendarError

FIRST_YEAR = 2015
"""The year in which 6563 came into force."""
LAST_YEAR = 2035
"""To be raised once ``holidays`` knows the bayrams of a later year."""

_SATURDAY = 5
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Turkey's calendar, with further days that an operator closes."""

    extra_closed_days: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        for day in self.extra_closed_days:
            _whole_holidays(day.year)


TURKEY_CALENDAR = Calendar()
"""The statutory holidays only."""


def is_business_day(day: date, calendar: Calendar = TURKEY_CALENDAR) -> bool:
    """Whether ``day`` counts towards a term of business days; a half day does."""
    return (
        day not in _whole_holidays(day.year)
        and day.weekday() < _SATURDAY
        and day not in calendar.extra_closed_days
    )


def is_half_day(day: date) -> bool:
    """Whether ``day`` ends at 13:00: the eves of the bayrams and of Republic Day."""
    return day in _half_days(day.year) and day not in _whole_holidays(day.year)


@lru_cache(maxsize=4096)
def add_business_days(day: date, count: int, calendar: Calendar = TURKEY_CALENDAR) -> date:
    """Return the ``count``-th business day after ``day``; ``day`` itself does not count."""
    if count < 0:
        raise ValueError(f"count must not be negative, not {count}")
    for _ in range(count):
        day += _ONE_DAY
        while not is_business_day(day, calendar):
            day += _ONE_DAY
    return day


@lru_cache(maxsize=64)
def _whole_holidays(year: int) -> frozenset[date]:
    return _days(year, "public")


@lru_cache(maxsize=64)
def _half_days(year: int) -> frozenset[date]:
    return _days(year, "half_day")


def _days(year: int, category: str) -> frozenset[date]:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise OutsideCalendarError(year, first=FIRST_YEAR, last=LAST_YEAR)
    found: Any = holidays.country_holidays("TR", years=year, categories=(category,))
    return frozenset(found)
