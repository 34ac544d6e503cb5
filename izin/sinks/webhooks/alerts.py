"""When a subscriber that does not take its events is reported, each time more urgently. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.consent.business_days import Calendar, add_business_days
from izin.consent.due_dates import TURKEY


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureStage:
    """For how long a subscriber has failed when it is reported."""

    name: str
    level: str
    """Of the log event."""


STAGES: Sequence[FailureStage] = (
    FailureStage(name="5 minutes", level="warning"),
    FailureStage(name="1 hour", level="error"),
    FailureStage(name="24 hours", level="critical"),
    FailureStage(name="2 business days", level="critical"),
)
"""One business day is left then until the opt-outs that wait had to be obeyed everywhere."""
_PERIODS = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
_BUSINESS_DAYS = 2


def reached(failing_since: datetime, now: datetime, calendar: Calendar) -> int:
    """Return how many of the stages are reached.

    The last is the same time of day on the second business day after.

    Raises:
        OutsideCalendarError: a year that the calendar does not cover.
    """
    since = failing_since.astimezone(TURKEY)
    day = add_business_days(since.date(), _BUSINESS_DAYS, calendar)
    last = datetime.combine(day, since.timetz())
    return sum(now >= failing_since + one for one in _PERIODS) + (now >= last)
