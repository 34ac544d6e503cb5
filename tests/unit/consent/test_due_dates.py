from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, example, given, strategies as st

from izin.consent import (
    THRESHOLD,
    TURKEY,
    BrandTerms,
    Calendar,
    NaiveInstantError,
    OurError,
    OutsideCalendarError,
    Status,
    add_business_days,
    due_and_expiry,
    due_at,
    expires_at,
    is_business_day,
    is_half_day,
    lawful_term,
    taken_until,
)
from izin.consent.business_days import FIRST_YEAR, LAST_YEAR
from izin.consent.due_dates import TRANSFERS, term_ends_at, transfer_in_force
from izin.consent.forecast import DueGroup, Forecast, curve, forecast, records_per_second
from tests.support.builders import NOON
from tests.unit.consent.public_holidays import TERMS, half_days, whole_days

ACTIVE = BrandTerms(activated_at=datetime(2025, 1, 1, tzinfo=UTC))
LOADING = BrandTerms(loading_deadline=datetime(2026, 6, 1, tzinfo=UTC))
INSTANTS = st.datetimes(
    min_value=datetime(2014, 12, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2035, 12, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
)
STEPS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=12))
SPRING = st.dates(min_value=date(2026, 3, 1), max_value=date(2026, 6, 15))
"""Both bayrams of a year, and four holidays besides."""
SPRING_INSTANTS = st.builds(datetime.combine, SPRING, st.times(), st.just(TURKEY))
BRANDS = st.sampled_from(
    [
        ACTIVE,
        LOADING,
        BrandTerms(activated_at=datetime(2026, 4, 1, tzinfo=UTC)),
        BrandTerms(
            activated_at=datetime(2026, 4, 1, tzinfo=UTC),
            loading_deadline=datetime(2026, 3, 20, tzinfo=UTC),
        ),
    ]
)


def in_turkey(*fields: int) -> datetime:
    """Return an instant in Turkish time."""
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
def test_third_business_day_has_two_readings(given_at: datetime, due: datetime, expires: datetime):
    """Strict: the same time of day; lenient: the end of the day; both in Turkey's days."""
    assert due_at(given_at, ACTIVE) == due
    assert expires_at(given_at, ACTIVE) == expires
    assert due_at(given_at, ACTIVE).tzinfo is UTC


@pytest.mark.parametrize(("said_on", "last_day"), TERMS)
def test_term_ends_as_in_the_reference(said_on: date, last_day: date):
    """Both readings end on the same day; an event of a Sunday counts from its end."""
    said_at = datetime.combine(said_on, time(10, 30), TURKEY)
    ends = datetime.combine(last_day, time(23, 59, 59), TURKEY)
    stands = said_on == date(2026, 9, 13)
    assert due_at(said_at, ACTIVE) == (
        ends if stands else ends.replace(hour=10, minute=30, second=0)
    )
    assert expires_at(said_at, ACTIVE) == ends


@pytest.mark.parametrize(
    ("said_at", "due"),
    [
        (in_turkey(2026, 9, 11, 23, 59, 59), in_turkey(2026, 9, 16, 23, 59, 59)),
        (in_turkey(2026, 9, 12, 0, 0), in_turkey(2026, 9, 16, 23, 59, 59)),
        (in_turkey(2026, 9, 12, 23, 0), in_turkey(2026, 9, 16, 23, 59, 59)),
        (in_turkey(2026, 9, 13, 10, 0), in_turkey(2026, 9, 16, 23, 59, 59)),
        (in_turkey(2026, 9, 14, 0, 0), in_turkey(2026, 9, 17, 0, 0)),
        # The third day is 28 October, a half day.
        (in_turkey(2026, 10, 24, 9, 0), in_turkey(2026, 10, 28, 13, 0)),
        (in_turkey(2026, 10, 25, 23, 0), in_turkey(2026, 10, 28, 13, 0)),
        # In the free half of a half day, which counts as a business day.
        (in_turkey(2026, 10, 28, 15, 0), in_turkey(2026, 11, 3, 15, 0)),
    ],
)
def test_event_on_a_holiday_counts_from_its_end(said_at: datetime, due: datetime):
    """An event of a weekend is due at the end of the day on which Friday's last one is."""
    assert due_at(said_at, ACTIVE) == due


@given(INSTANTS, STEPS, BRANDS)
def test_later_event_is_never_due_earlier(instant: datetime, step: timedelta, brand: BrandTerms):
    """Both readings are monotone in the instant of the event, for every brand."""
    now = datetime(2026, 3, 15, tzinfo=UTC)
    for reading in (due_at, expires_at):
        assert reading(instant, brand, now=now) <= reading(instant + step, brand, now=now)


@given(SPRING_INSTANTS, st.sets(SPRING, max_size=6), SPRING)
def test_extra_closed_day_never_shortens_a_term(
    instant: datetime, closed: set[date], one_more: date
):
    """Both readings are monotone in the calendar: a closed day never shortens a term."""
    fewer = Calendar(extra_closed_days=frozenset(closed))
    more = Calendar(extra_closed_days=frozenset(closed | {one_more}))
    for reading in (due_at, expires_at):
        assert reading(instant, ACTIVE, calendar=fewer) <= reading(instant, ACTIVE, calendar=more)


@given(INSTANTS, BRANDS)
def test_due_is_never_after_expiry(instant: datetime, brand: BrandTerms):
    """The alert never comes after the expiry."""
    now = datetime(2026, 3, 15, tzinfo=UTC)
    due, expires = due_and_expiry(instant, brand, status=Status.ONAY, now=now)
    assert due <= expires


@given(INSTANTS)
def test_term_is_at_least_three_days(instant: datetime):
    """Holidays lengthen it, a half day at its end takes eleven hours, and no term is endless."""
    assume(instant >= in_turkey(2015, 1, 1))
    term = due_at(instant, ACTIVE) - instant
    assert timedelta(days=3) - timedelta(hours=11) <= term <= timedelta(days=15)


def test_term_of_an_event_before_the_calendar_has_ended():
    """No term is older than the law, so such an event is late, and no error."""
    begins = in_turkey(2015, 1, 1)
    for said_at in (datetime.min.replace(tzinfo=UTC), in_turkey(1999, 5, 3), begins):
        assert due_at(said_at, ACTIVE) == in_turkey(2015, 1, 6, 23, 59, 59)
        assert expires_at(said_at, ACTIVE) == in_turkey(2015, 1, 6, 23, 59, 59)


def test_due_beyond_the_calendar_is_an_error():
    """No term is better than one that takes every weekday for a business day."""
    for reading in (due_at, expires_at):
        with pytest.raises(OutsideCalendarError):
            reading(in_turkey(2036, 1, 1), ACTIVE)
        with pytest.raises(OutsideCalendarError):
            reading(in_turkey(2035, 12, 28, 9), ACTIVE)


def test_naive_effective_instant_is_refused():
    """A naive one would be read in the zone of the machine."""
    for reading in (due_at, expires_at):
        with pytest.raises(NaiveInstantError, match="effective_at"):
            reading(in_turkey(2026, 3, 2).replace(tzinfo=None), ACTIVE)


def test_before_activation_a_consent_expires_with_its_lawful_term():
    """First loading: İYS takes old consents until the brand's deadline, and the law does not."""
    long_ago = datetime(2019, 1, 1, tzinfo=UTC)
    assert due_at(long_ago, LOADING) == LOADING.loading_deadline
    assert due_at(long_ago, LOADING).tzinfo is UTC
    assert due_at(long_ago, BrandTerms()) is None
    transferred_until = in_turkey(2021, 5, 31, 23, 59, 59)
    for brand in (LOADING, BrandTerms()):
        assert expires_at(long_ago, brand) == transferred_until
        assert expires_at(long_ago, brand).tzinfo is UTC
        both = due_and_expiry(long_ago, brand, status=Status.ONAY, now=NOON)
        assert both == (transferred_until, transferred_until)
        recent = in_turkey(2026, 3, 2, 9)
        assert expires_at(recent, brand, now=NOON) == in_turkey(2026, 3, 5, 23, 59, 59)
        assert taken_until(long_ago, brand, now=NOON) == brand.loading_deadline


def test_general_transfer_in_force_that_day_bounds_an_old_consent():
    """As announced by then: in June 2020 the transfer ended on 31 August of that year."""
    now = in_turkey(2020, 6, 1, 9)
    old = datetime(2019, 1, 1, tzinfo=UTC)
    assert expires_at(old, BrandTerms(), now=now) == in_turkey(2020, 8, 31, 23, 59, 59)


def test_future_activation_starts_no_term():
    """The three-day rule begins with the activation itself."""
    activated_at = datetime(2026, 3, 10, tzinfo=UTC)
    brand = BrandTerms(activated_at=activated_at, loading_deadline=activated_at)
    given_at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    before, after = activated_at - timedelta(seconds=1), activated_at
    assert due_at(given_at, brand, now=before) == activated_at
    assert expires_at(given_at, brand, now=before) == in_turkey(2026, 3, 5, 23, 59, 59)
    assert taken_until(given_at, brand, now=before) == activated_at
    assert due_at(given_at, brand, now=after) == datetime(2026, 3, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said_at", "now", "due"),
    [
        # The activation is in the future: loaded by the loading deadline, if that is the nearer.
        (in_turkey(2026, 2, 2, 9), in_turkey(2026, 3, 1), in_turkey(2026, 3, 9, 18)),
        # The deadline is over and the activation ahead: the old consent is late already.
        (in_turkey(2026, 2, 2, 9), in_turkey(2026, 3, 10), in_turkey(2026, 3, 9, 18)),
        # Given on the last day of loading: it has its own three days, as H467 requires.
        (in_turkey(2026, 3, 9, 17), in_turkey(2026, 3, 9, 17, 1), in_turkey(2026, 3, 12, 17)),
        # Given after the loading deadline, the activation still ahead.
        (in_turkey(2026, 3, 10, 9), in_turkey(2026, 3, 10, 10), in_turkey(2026, 3, 13, 9)),
        # Given before the activation and less than three days ago, seen after it.
        (in_turkey(2026, 3, 11, 9), in_turkey(2026, 3, 12, 9), in_turkey(2026, 3, 16, 9)),
        # The same instant as the activation.
        (in_turkey(2026, 3, 12, 9), in_turkey(2026, 3, 12, 9), in_turkey(2026, 3, 17, 9)),
    ],
)
def test_onay_around_an_activation_has_its_own_term(
    said_at: datetime, now: datetime, due: datetime
):
    """İYS takes a consent in its three business days or in the first loading, whichever is longer.
    The law has the three business days alone.
    """
    brand = BrandTerms(
        activated_at=in_turkey(2026, 3, 12, 9), loading_deadline=in_turkey(2026, 3, 9, 18)
    )
    assert due_at(said_at, brand, now=now) == due
    taken = taken_until(said_at, brand, now=now)
    assert taken == due or taken == due.replace(hour=23, minute=59, second=59)
    assert expires_at(said_at, brand, now=now) == term_ends_at(said_at)


def test_future_activation_ends_a_loading_without_deadline():
    """İYS takes no older ONAY from then on."""
    brand = BrandTerms(activated_at=in_turkey(2026, 3, 12, 9))
    now = in_turkey(2026, 3, 2)
    assert taken_until(in_turkey(2019, 1, 2), brand, now=now) == brand.activated_at
    assert due_at(in_turkey(2019, 1, 2), brand, now=now) == brand.activated_at


@given(INSTANTS)
def test_passed_activation_revives_no_expired_onay(instant: datetime):
    """A term counted before a known activation remains valid after it."""
    brand = BrandTerms(activated_at=in_turkey(2026, 3, 12, 9))
    before = expires_at(instant, brand, now=brand.activated_at - timedelta(seconds=1))
    after = expires_at(instant, brand, now=brand.activated_at)
    assert before == after or before == in_turkey(2021, 5, 31, 23, 59, 59) > after


def test_ret_never_expires():
    """Nothing makes a RET invalid; it is only due."""
    given_at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert expires_at(given_at, ACTIVE, status=Status.RET) is None
    assert expires_at(given_at, LOADING, status=Status.RET) is None
    assert due_at(given_at, ACTIVE) is not None


@given(SPRING_INSTANTS, BRANDS, st.sampled_from(Status), SPRING_INSTANTS)
def test_due_and_expiry_equal_the_two_functions(
    said_at: datetime, brand: BrandTerms, status: Status, now: datetime
):
    """By the same brand, calendar and instant."""
    closed = Calendar(extra_closed_days=frozenset({said_at.date() + timedelta(days=1)}))
    due = due_at(said_at, brand, now=now, calendar=closed)
    expires = expires_at(said_at, brand, status=status, now=now, calendar=closed)
    earlier = min((one for one in (due, expires) if one is not None), default=None)
    assert due_and_expiry(said_at, brand, status=status, now=now, calendar=closed) == (
        due if status is Status.RET else earlier,
        expires,
    )


def test_extra_closed_days_extend_the_term():
    """What the operator closes is no business day of any term."""
    closed = Calendar(extra_closed_days=frozenset({date(2026, 3, 3)}))
    given_at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert due_at(given_at, ACTIVE, calendar=closed) == datetime(2026, 3, 6, 9, tzinfo=UTC)
    assert expires_at(given_at, ACTIVE, calendar=closed) == in_turkey(2026, 3, 6, 23, 59, 59)
    on_it = datetime(2026, 3, 3, 9, tzinfo=UTC)
    assert due_at(on_it, ACTIVE, calendar=closed) == in_turkey(2026, 3, 6, 23, 59, 59)


DEADLINE = datetime(2026, 3, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize("field", ["activated_at", "loading_deadline"])
def test_brand_terms_with_naive_instants_are_refused(field: str):
    """A deadline without a zone is none."""
    with pytest.raises(NaiveInstantError, match=field):
        BrandTerms(**{field: DEADLINE.replace(tzinfo=None)})


def test_transfers_stand_in_the_order_of_their_announcement():
    """Each names its source, and a later one replaces those before it."""
    announced = [one.announced_on for one in TRANSFERS]
    assert announced == sorted(announced)
    assert all(one.source and one.announced_on <= one.until for one in TRANSFERS)


@pytest.mark.parametrize(
    ("day", "addresses", "until"),
    [
        (date(2020, 1, 3), 1000, None),
        (date(2020, 1, 4), 1000, date(2020, 6, 1)),
        (date(2020, 5, 23), 200_000, date(2020, 8, 31)),
        (date(2020, 11, 29), 200_000, date(2020, 12, 1)),
        (date(2020, 11, 29), 1000, date(2020, 12, 1)),
        (date(2020, 11, 30), THRESHOLD + 1, date(2020, 12, 31)),
        (date(2020, 11, 30), THRESHOLD, date(2021, 5, 31)),
        (date(2026, 3, 2), 0, date(2021, 5, 31)),
    ],
)
def test_transfer_in_force_depends_on_day_and_size(day: date, addresses: int, until: date | None):
    """The announcement of 30 November 2020 tells providers apart by their addresses."""
    found = transfer_in_force(addresses, on=day)
    assert (None if found is None else found.until) == until


@pytest.mark.parametrize(
    ("given_at", "addresses", "until"),
    [
        (in_turkey(2016, 5, 2, 10), THRESHOLD, in_turkey(2021, 5, 31, 23, 59, 59)),
        (in_turkey(2016, 5, 2, 10), THRESHOLD + 1, in_turkey(2020, 12, 31, 23, 59, 59)),
        (in_turkey(2021, 2, 1, 10), THRESHOLD, in_turkey(2021, 5, 31, 23, 59, 59)),
        # Its own three business days end later.
        (in_turkey(2020, 12, 31, 23, 59, 59), THRESHOLD + 1, in_turkey(2021, 1, 6, 23, 59, 59)),
    ],
)
def test_transfer_covers_what_was_given_by_its_last_day(
    given_at: datetime, addresses: int, until: datetime
):
    """However old it was; and it ends no term early."""
    found = lawful_term(given_at, addresses=addresses, now=NOON)
    assert found.until == until
    assert found.transfer is not None
    assert found.is_over(NOON)


@pytest.mark.parametrize(
    ("given_at", "addresses", "now"),
    [
        (in_turkey(2021, 2, 1, 10), THRESHOLD + 1, NOON),
        (in_turkey(2021, 6, 1), 10, NOON),
        (in_turkey(2019, 12, 2), 10, in_turkey(2019, 12, 3)),
    ],
)
def test_term_is_three_business_days_without_a_transfer(
    given_at: datetime, addresses: int, now: datetime
):
    """What was given after its last day, or before there was one, has its own term alone."""
    found = lawful_term(given_at, addresses=addresses, now=now)
    assert found.transfer is None
    assert found.until - given_at < timedelta(days=11)


@given(given_at=INSTANTS, addresses=st.integers(0, 2 * THRESHOLD), seconds=st.integers(1, 10**6))
def test_lawful_term_contains_the_consent(given_at: datetime, addresses: int, seconds: int):
    """A consent is lawful when it is given, and over once its last instant has passed."""
    found = lawful_term(given_at, addresses=addresses, now=NOON)
    assert not found.is_over(max(given_at, in_turkey(2015, 1, 1)))
    assert not found.is_over(found.until)
    assert found.is_over(found.until + timedelta(seconds=seconds))
    assert found.until.astimezone(TURKEY).time().hour == 23


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


NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def after(hours: float) -> datetime:
    """Return the instant so many hours from now."""
    return NOW + hours * HOUR


def due_group(status: Status = Status.ONAY, **fields: object) -> DueGroup:
    """Return a group of a hundred consents, due in an hour and offered for two."""
    given = {"status": status, "due_at": after(1), "expires_at": after(2), "count": 100}
    return DueGroup(**given | fields)


def forecast_of(*backlog: DueGroup, per_hour: float = 100, paused: float | None = None) -> Forecast:
    """Return the forecast of a backlog at so many records an hour."""
    return forecast(
        backlog,
        now=NOW,
        records_per_second=per_hour / 3600,
        paused_until=None if paused is None else after(paused),
    )


NEAR_INSTANTS = st.none() | st.integers(min_value=-5, max_value=300).map(
    lambda minutes: NOW + timedelta(minutes=minutes)
)
GROUPS = st.builds(
    DueGroup,
    status=st.sampled_from(Status),
    due_at=NEAR_INSTANTS,
    expires_at=NEAR_INSTANTS,
    count=st.integers(min_value=1, max_value=400),
)
BACKLOGS = st.lists(GROUPS, max_size=8)
RATES = st.floats(min_value=1 / 64, max_value=8)
PAUSES = st.none() | st.integers(min_value=-1, max_value=3).map(after)


def test_record_due_too_soon_is_late_and_expired_is_lost():
    """Of three hundred, a hundred are submitted by the due instant, and a hundred after it."""
    found = forecast_of(due_group(count=300))
    assert (found.late, found.lost, found.done_at) == (200, 100, after(2))
    assert (found.first_late_at, found.first_lost_at) == (after(1), after(2))


def test_opt_outs_go_first_then_the_earliest_due():
    """An opt-out that is due tomorrow is submitted before an opt-in that is due now."""
    rejections = due_group(Status.RET, due_at=after(24), expires_at=None)
    soon, later = (
        due_group(due_at=after(2), expires_at=after(9)),
        due_group(due_at=after(3), expires_at=None),
    )
    endless = due_group(due_at=None, expires_at=None)
    found = forecast_of(endless, later, soon, rejections)
    assert [one.group for one in found.groups] == [rejections, soon, later, endless]
    assert [one.done_at for one in found.groups] == [after(n) for n in (1, 2, 3, 4)]
    assert (found.late, found.lost) == (0, 0)


def test_opt_out_is_late_but_never_lost():
    """Its expiry is ignored; it is submitted, and delays those behind it."""
    rejections = due_group(Status.RET, due_at=after(-5), expires_at=after(-4), count=200)
    found = forecast_of(rejections, due_group())
    assert [(one.late, one.lost) for one in found.groups] == [(200, 0), (100, 100)]
    assert found.groups[1].done_at is None


def test_lost_record_delays_no_other():
    """An expired record is not submitted, so the next group begins at once."""
    found = forecast_of(due_group(due_at=after(-30), expires_at=after(-1), count=5000), due_group())
    assert [(one.late, one.lost) for one in found.groups] == [(5000, 5000), (0, 0)]
    assert found.done_at == after(1)


@pytest.mark.parametrize(
    ("backlog", "how", "expected"),
    [
        ([due_group()], {}, (0, 0, after(1))),
        ([due_group()], {"paused": 1}, (100, 0, after(2))),
        ([due_group()], {"paused": -3}, (0, 0, after(1))),
        ([due_group(count=10**12, expires_at=None)], {"per_hour": 1e12}, (0, 0, after(1))),
        ([], {}, (0, 0, None)),
    ],
    ids=["fits", "İYS is down for an hour", "it was down", "counts are added up", "empty"],
)
def test_backlog_has_its_late_and_lost_records_and_its_end(
    backlog: list[DueGroup], how: dict[str, float], expected: tuple[int, int, datetime | None]
):
    """A hundred records at a hundred an hour end as the hour does; of a hundred that are due in a
    pause, none is in time and none is lost.
    """
    found = forecast_of(*backlog, **how)
    assert (found.late, found.lost, found.done_at) == expected
    assert (found.first_late_at, found.first_lost_at) == (after(1) if found.late else None, None)


def test_records_per_second_follow_the_rate_limit():
    """Ten requests a second, a thousand records a batch, a submission and a query each."""
    assert records_per_second(10, batch_size=1000) == 5000
    assert records_per_second(10, batch_size=1000, result_queries=3) == 2500


@given(BACKLOGS, RATES, PAUSES)
def test_every_record_is_submitted_or_lost(
    backlog: list[DueGroup], rate: float, paused_until: datetime | None
):
    """Each record is submitted or lost, and each group follows the one before it."""
    found = forecast(backlog, now=NOW, records_per_second=rate, paused_until=paused_until)
    assert sorted(map(repr, backlog)) == sorted(repr(one.group) for one in found.groups)
    for one in found.groups:
        assert one.submitted + one.lost == one.group.count
        assert 0 <= one.lost <= one.group.count
        assert 0 <= one.late <= one.group.count
        assert one.group.status is Status.ONAY or one.lost == 0
    ends = [one.done_at for one in found.groups if one.done_at is not None]
    assert ends == sorted(ends)


@given(BACKLOGS, RATES, PAUSES)
def test_double_rate_never_adds_a_miss(
    backlog: list[DueGroup], rate: float, paused_until: datetime | None
):
    """In no group are more late, or lost, when everything goes twice as fast."""
    slow = forecast(backlog, now=NOW, records_per_second=rate, paused_until=paused_until)
    fast = forecast(backlog, now=NOW, records_per_second=2 * rate, paused_until=paused_until)
    for before, then in zip(slow.groups, fast.groups, strict=True):
        assert then.late <= before.late
        assert then.lost <= before.lost


@given(BACKLOGS, GROUPS, RATES, PAUSES)
def test_larger_backlog_never_removes_a_miss(
    backlog: list[DueGroup], more: DueGroup, rate: float, paused_until: datetime | None
):
    """A late record stays late when others are added."""
    few = forecast(backlog, now=NOW, records_per_second=rate, paused_until=paused_until)
    many = forecast([*backlog, more], now=NOW, records_per_second=rate, paused_until=paused_until)
    assert few.late <= many.late
    assert few.lost <= many.lost
    # Among equals the last one is submitted last.
    added = max(place for place, one in enumerate(many.groups) if one.group is more)
    others = [*many.groups[:added], *many.groups[added + 1 :]]
    for before, then in zip(few.groups, others, strict=True):
        assert before.group is then.group
        assert before.late <= then.late
        assert before.lost <= then.lost


@given(BACKLOGS, RATES, st.integers(min_value=0, max_value=300))
@example(
    [
        due_group(due_at=NOW, expires_at=NOW + timedelta(minutes=2), count=15),
        due_group(due_at=NOW + timedelta(minutes=3), expires_at=None, count=8),
    ],
    1 / 8,
    1,
)
def test_longer_pause_never_removes_a_miss(backlog: list[DueGroup], rate: float, minutes: int):
    """A pause never helps; but records are discrete, so in each group one may differ."""
    later = NOW + timedelta(minutes=minutes)
    at_once = forecast(backlog, now=NOW, records_per_second=rate)
    paused = forecast(backlog, now=NOW, records_per_second=rate, paused_until=later)
    assert at_once.lost <= paused.lost
    for before, then in zip(at_once.groups, paused.groups, strict=True):
        assert before.late <= then.late + 1
        assert before.lost <= then.lost + 1


@pytest.mark.parametrize(
    ("made", "error", "said"),
    [
        *(
            (lambda count=count: due_group(count=count), ValueError, "at least one")
            for count in (0, -1)
        ),
        *(
            (
                lambda name=name: due_group(**{name: after(1).replace(tzinfo=None)}),
                *(NaiveInstantError, name),
            )
            for name in ("due_at", "expires_at")
        ),
        *(
            (lambda rate=rate: forecast_of(due_group(), per_hour=rate), ValueError, "positive")
            for rate in (0, -1.0)
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    made: Callable[[], object], error: type[Exception], said: str
):
    """An empty group, a deadline without a zone, and a rate without an end: a pause has one."""
    with pytest.raises(error, match=said):
        made()


def test_curve_of_a_forecast_has_what_is_due_and_sent_by_when() -> None:
    """From now until all is due and done; what is missed already is due now."""
    missed = due_group(Status.RET, due_at=after(-1), expires_at=None, count=50)
    later = due_group(due_at=after(1), expires_at=after(9), count=100)
    last = due_group(due_at=after(4), expires_at=after(9), count=100)
    ahead = forecast_of(later, missed, last)
    points = curve(ahead, now=NOW, records_per_second=100 / 3600)
    assert [(one.at, one.due, one.submitted, one.late) for one in points] == [
        (NOW, 50, 0, 50),
        (after(1), 150, 100, 100),
        (after(2.5), 150, 250, 100),
        (after(4), 250, 250, 100),
    ]
    assert curve(forecast_of(), now=NOW, records_per_second=1) == ()


@given(backlog=st.lists(GROUPS, max_size=30), most=st.integers(2, 9))
def test_curve_ends_with_the_whole_forecast(backlog: list[DueGroup], most: int) -> None:
    """However few points it has; it never falls."""
    ahead = forecast(backlog, now=NOW, records_per_second=0.01)
    points = curve(ahead, now=NOW, records_per_second=0.01, most=most)
    assert len(points) <= most
    for before, behind in pairwise(points):
        assert before.at < behind.at
        assert (before.due, before.submitted, before.late) <= (
            behind.due,
            behind.submitted,
            behind.late,
        )
    if points:
        assert points[0].at == NOW
        assert points[-1].late == ahead.late
        assert points[-1].submitted == sum(one.submitted for one in ahead.groups)
