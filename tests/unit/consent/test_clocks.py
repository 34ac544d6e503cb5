from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.business_days import Calendar
from izin.consent.clocks import (
    TURKEY,
    BrandClock,
    Urgency,
    due_at,
    expires_at,
    time_left,
    urgency,
)
from izin.consent.errors import NaiveInstantError
from izin.consent.model import Status

ACTIVE = BrandClock(activated_at=datetime(2025, 1, 1, tzinfo=UTC))
LOADING = BrandClock(loading_deadline=datetime(2026, 6, 1, tzinfo=UTC))
INSTANTS = st.datetimes(
    min_value=datetime(2024, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2028, 12, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
)


def in_turkey(*fields: int) -> datetime:
    """Return an instant by the clock on a Turkish wall."""
    return datetime(*fields, tzinfo=TURKEY)


@pytest.mark.parametrize(
    ("given_at", "due", "expires"),
    [
        (
            in_turkey(2026, 4, 17, 10, 30),
            in_turkey(2026, 4, 22, 10, 30),
            in_turkey(2026, 4, 22, 23, 59, 59),
        ),
        # The third day is 28 October, a half day.
        (
            in_turkey(2026, 10, 23, 15, 0),
            in_turkey(2026, 10, 28, 13, 0),
            in_turkey(2026, 10, 28, 23, 59, 59),
        ),
        (
            in_turkey(2026, 10, 23, 12, 0),
            in_turkey(2026, 10, 28, 12, 0),
            in_turkey(2026, 10, 28, 23, 59, 59),
        ),
        # Already tomorrow in Turkey, still today in UTC.
        (
            datetime(2026, 9, 13, 21, 30, tzinfo=UTC),
            in_turkey(2026, 9, 17, 0, 30),
            in_turkey(2026, 9, 17, 23, 59, 59),
        ),
    ],
)
def test_both_readings_of_the_third_business_day(
    given_at: datetime, due: datetime, expires: datetime
):
    """Strict: the same time of day; lenient: the end of the day; both in Turkey's days."""
    assert due_at(given_at, ACTIVE) == due
    assert expires_at(given_at, ACTIVE) == expires
    assert due_at(given_at, ACTIVE).tzinfo is UTC


@given(INSTANTS)
def test_due_comes_before_expiry(instant: datetime):
    """The alarm never rings after it is too late, and the term is never shorter than three days."""
    due, expires = due_at(instant, ACTIVE), expires_at(instant, ACTIVE)
    assert due <= expires
    assert due - instant >= timedelta(days=3) - timedelta(hours=11)
    assert due - instant <= timedelta(days=15)


def test_before_activation_only_the_loading_deadline_counts():
    """First loading: old consents may be told until the brand's own deadline."""
    long_ago = datetime(2019, 1, 1, tzinfo=UTC)
    assert due_at(long_ago, LOADING) == LOADING.loading_deadline
    assert expires_at(long_ago, LOADING) == LOADING.loading_deadline
    assert due_at(long_ago, BrandClock()) is None
    assert expires_at(long_ago, BrandClock()) is None


def test_an_activation_ahead_has_not_begun():
    """The three-day rule begins with the activation, not with the knowledge of it."""
    activated_at = datetime(2026, 3, 10, tzinfo=UTC)
    brand = BrandClock(activated_at=activated_at, loading_deadline=activated_at)
    given_at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    before, after = activated_at - timedelta(seconds=1), activated_at
    assert due_at(given_at, brand, now=before) == activated_at
    assert expires_at(given_at, brand, now=before) == activated_at
    assert due_at(given_at, brand, now=after) == datetime(2026, 3, 5, 9, tzinfo=UTC)


def test_a_ret_never_expires():
    """Nothing makes a "no" invalid; it is only due."""
    given_at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert expires_at(given_at, ACTIVE, status=Status.RET) is None
    assert expires_at(given_at, LOADING, status=Status.RET) is None
    assert due_at(given_at, ACTIVE) is not None


def test_extra_closed_days_lengthen_the_term():
    """What the operator closes is no business day of any term."""
    closed = Calendar(extra_closed_days=frozenset({date(2026, 3, 3)}))
    given_at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert due_at(given_at, ACTIVE, calendar=closed) == datetime(2026, 3, 6, 9, tzinfo=UTC)
    assert expires_at(given_at, ACTIVE, calendar=closed) == in_turkey(2026, 3, 6, 23, 59, 59)


DEADLINE = datetime(2026, 3, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (timedelta(seconds=-1), Urgency.OVERDUE),
        (timedelta(0), Urgency.LAST_HOUR),
        (timedelta(hours=1), Urgency.LAST_HOUR),
        (timedelta(hours=1, seconds=1), Urgency.SOON),
        (timedelta(hours=24), Urgency.SOON),
        (timedelta(hours=24, seconds=1), Urgency.CALM),
    ],
)
def test_urgency_grows_towards_the_deadline(left: timedelta, expected: Urgency):
    """The alarm is at 24 hours, the fast lane in the last one."""
    assert urgency(DEADLINE - left, DEADLINE) is expected
    assert time_left(DEADLINE - left, DEADLINE) == left


def test_no_deadline_no_urgency():
    """A brand that is not active and has no loading deadline has all the time."""
    assert urgency(DEADLINE, None) is Urgency.NO_DEADLINE
    assert time_left(DEADLINE, None) is None


@pytest.mark.parametrize("field", ["activated_at", "loading_deadline"])
def test_a_brand_has_aware_instants(field: str):
    """A deadline without a zone is none."""
    with pytest.raises(NaiveInstantError, match=field):
        BrandClock(**{field: DEADLINE.replace(tzinfo=None)})
