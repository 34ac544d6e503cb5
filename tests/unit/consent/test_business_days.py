from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent import (
    Calendar,
    OurError,
    OutsideCalendarError,
    add_business_days,
    is_business_day,
    is_half_day,
)
from izin.consent.business_days import FIRST_YEAR, LAST_YEAR
from tests.unit.consent.public_holidays import TERMS, half_days, whole_days

DAYS = st.dates(min_value=date(FIRST_YEAR, 1, 1), max_value=date(LAST_YEAR, 12, 1))
SATURDAY = 5


def days_of(year: int) -> list[date]:
    """Return every day of ``year``."""
    first = date(year, 1, 1)
    return [first + timedelta(days=n) for n in range((date(year + 1, 1, 1) - first).days)]


@pytest.mark.parametrize("year", range(FIRST_YEAR, LAST_YEAR + 1))
def test_every_day_is_as_the_law_has_it(year: int):
    """Every day is as in Law 2429 and Diyanet's calendar, half days included."""
    whole, half = whole_days(year), half_days(year)
    for day in days_of(year):
        assert is_business_day(day) == (day.weekday() < SATURDAY and day not in whole), day
        assert is_half_day(day) == (day in half), day


@pytest.mark.parametrize(
    "day",
    [
        date(FIRST_YEAR, 1, 1) - timedelta(days=1),
        date(LAST_YEAR + 1, 1, 1),
        date(LAST_YEAR + 1, 1, 5),
        date.min,
        date.max,
    ],
)
def test_unknown_year_is_an_error(day: date):
    """Outside the calendar every day is an error, weekends too."""
    with pytest.raises(OutsideCalendarError, match="install a version") as caught:
        is_business_day(day)
    with pytest.raises(OutsideCalendarError):
        is_half_day(day)
    with pytest.raises(OutsideCalendarError):
        Calendar(extra_closed_days=frozenset({day}))
    assert isinstance(caught.value, OurError)
    assert caught.value.year == day.year


def test_term_beyond_the_calendar_is_an_error():
    """The last days of the last year have no known third business day."""
    with pytest.raises(OutsideCalendarError, match=str(LAST_YEAR + 1)):
        add_business_days(date(LAST_YEAR, 12, 28), 3)
    everything = frozenset(day for year in (2034, 2035) for day in days_of(year))
    with pytest.raises(OutsideCalendarError):
        add_business_days(date(2034, 1, 1), 1, Calendar(extra_closed_days=everything))


@pytest.mark.parametrize(("day", "counts"), [(date(2016, 7, 15), True), (date(2019, 7, 15), False)])
def test_15_july_is_free_since_2017(day: date, counts: bool):
    """Law 6752 made it a holiday in October 2016; it was none in that summer."""
    assert is_business_day(day) is counts


@pytest.mark.parametrize(("day", "last"), TERMS)
def test_third_business_day(day: date, last: date):
    """The reference's examples, half days counted."""
    assert add_business_days(day, 3) == last


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2024, 4, 10), date(2024, 4, 12)),
        (date(2024, 6, 16), date(2024, 6, 19)),
        (date(2025, 3, 30), date(2025, 4, 1)),
        (date(2025, 6, 6), date(2025, 6, 9)),
        (date(2026, 3, 20), date(2026, 3, 22)),
        (date(2026, 5, 27), date(2026, 5, 30)),
        (date(2027, 3, 9), date(2027, 3, 11)),
        (date(2027, 5, 16), date(2027, 5, 19)),
        (date(2028, 2, 26), date(2028, 2, 28)),
        (date(2028, 5, 5), date(2028, 5, 8)),
    ],
)
def test_bayrams_are_holidays_and_their_eves_half_days(first: date, last: date):
    """The bayrams of five years, each with the eve before it."""
    day = first
    while day <= last:
        assert not is_business_day(day)
        day += timedelta(days=1)
    assert is_half_day(first - timedelta(days=1))


def test_half_days_are_business_days():
    """An eve on a working day is a business day."""
    assert is_half_day(date(2026, 10, 28))
    assert is_business_day(date(2026, 10, 28))
    assert not is_half_day(date(2026, 10, 27))


def test_extra_closed_days_are_no_business_days():
    """Administrative leave is no statutory holiday; an operator may close the day."""
    bridge = date(2026, 5, 25)
    closed = Calendar(extra_closed_days=frozenset({bridge}))
    assert is_business_day(bridge)
    assert not is_business_day(bridge, closed)
    assert add_business_days(date(2026, 5, 22), 3, closed) == date(2026, 6, 2)


def test_negative_term_is_an_error():
    """A negative term is an error of the caller."""
    with pytest.raises(ValueError, match="negative"):
        add_business_days(date(2026, 3, 2), -1)
    assert add_business_days(date(2026, 3, 7), 0) == date(2026, 3, 7)


@given(DAYS, st.integers(min_value=1, max_value=5))
def test_term_ends_on_a_business_day(day: date, count: int):
    """Between a day and the end of its term lie exactly so many business days."""
    end = add_business_days(day, count)
    between = [day + timedelta(days=n) for n in range(1, (end - day).days + 1)]
    assert is_business_day(end)
    assert sum(is_business_day(one) for one in between) == count
