"""A failing subscriber is reported after 5 minutes, an hour, a day and two business days."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.typing import EventDict

from izin.consent.business_days import TURKEY_CALENDAR
from izin.sinks.ledger.webhooks.deliveries import HealthChange
from izin.sinks.webhooks.dispatcher import FailureWatch, reached
from tests.support.webhooks import a_subscriber

FRIDAY = datetime(2026, 3, 6, 9, 0, tzinfo=UTC)
"""Noon in Turkey; the second business day after is Tuesday 10 March."""


@pytest.mark.parametrize(
    ("after", "count"),
    [
        (timedelta(minutes=4), 0),
        (timedelta(minutes=5), 1),
        (timedelta(hours=1), 2),
        (timedelta(hours=24), 3),
        (timedelta(days=3), 3),
        (timedelta(days=4) - timedelta(seconds=1), 3),
        (timedelta(days=4), 4),
    ],
)
def test_stages_are_reached_in_turn(after: timedelta, count: int) -> None:
    """A weekend is no business day."""
    assert reached(FRIDAY, FRIDAY + after, TURKEY_CALENDAR) == count


def test_each_alert_is_raised_once_and_survives_the_process(logged: list[EventDict]) -> None:
    """The next process begins with what the one before has stored."""
    watch = FailureWatch(a_subscriber(), TURKEY_CALENDAR)
    since = FRIDAY.timestamp()
    watch.failed("status 500: refused", FRIDAY)
    assert watch.change(since, FRIDAY) == HealthChange(1, FRIDAY, 0, "status 500: refused", FRIDAY)
    assert watch.change(since, FRIDAY) is None
    later = FRIDAY + timedelta(hours=2)
    assert watch.change(since, later) == HealthChange(1, FRIDAY, 2, None, None)
    assert watch.change(since, later) is None
    known = a_subscriber(failing_since=FRIDAY, alerts=2)
    watch = FailureWatch(known, TURKEY_CALENDAR)
    assert watch.change(None, later) is None
    day = FRIDAY + timedelta(days=1)
    assert watch.change(day.timestamp(), day) == HealthChange(1, FRIDAY, 3, None, None)
    watch.recovered()
    assert watch.change(None, day) == HealthChange(1, None, 0, None, None)
    raised = [one["longer_than"] for one in logged if "longer_than" in one]
    assert raised == ["5 minutes", "1 hour", "24 hours"]
    assert logged[-1]["event"] == "subscriber takes its events again"


def test_change_that_was_not_stored_comes_again() -> None:
    """A database that is away loses no alert."""
    watch = FailureWatch(a_subscriber(), TURKEY_CALENDAR)
    change = watch.change(FRIDAY.timestamp(), FRIDAY)
    watch.not_stored()
    assert watch.change(FRIDAY.timestamp(), FRIDAY) == change
