from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.due_dates import TURKEY
from izin.consent.general_transfers import (
    THRESHOLD,
    TRANSFERS,
    lawful_term,
    transfer_in_force,
)
from tests.support.builders import NOON
from tests.unit.consent.test_due_dates import INSTANTS, in_turkey

TODAY = NOON


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
    found = lawful_term(given_at, addresses=addresses, now=TODAY)
    assert found.until == until
    assert found.transfer is not None
    assert found.is_over(TODAY)


@pytest.mark.parametrize(
    ("given_at", "addresses", "now"),
    [
        (in_turkey(2021, 2, 1, 10), THRESHOLD + 1, TODAY),
        (in_turkey(2021, 6, 1), 10, TODAY),
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
    found = lawful_term(given_at, addresses=addresses, now=TODAY)
    assert not found.is_over(max(given_at, in_turkey(2015, 1, 1)))
    assert not found.is_over(found.until)
    assert found.is_over(found.until + timedelta(seconds=seconds))
    assert found.until.astimezone(TURKEY).time().hour == 23
