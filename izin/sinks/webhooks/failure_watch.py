"""Since when a subscriber fails, and the alerts about it: each is more urgent than the one before,
and is raised once, also by the next process that delivers to it.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from izin.consent.business_days import Calendar, add_business_days
from izin.consent.due_dates import TURKEY
from izin.runtime.logs import get_logger
from izin.sinks.ledger.webhooks.deliveries import HealthChange
from izin.sinks.ledger.webhooks.subscriber import WebhookSubscriber

_STAGES = (
    ("5 minutes", "warning"),
    ("1 hour", "error"),
    ("24 hours", "critical"),
    ("2 business days", "critical"),
)
"""For how long a subscriber has failed when it is reported, and the level of the log event. One
business day is left after the last until the opt-outs that wait had to be obeyed everywhere."""
_PERIODS = (timedelta(minutes=5), timedelta(hours=1), timedelta(hours=24))
_BUSINESS_DAYS = 2

_log = get_logger(__name__)


@dataclass(slots=True)
class FailureWatch:
    """What is known of the failures of one subscriber."""

    subscriber: WebhookSubscriber
    calendar: Calendar
    alerts: int = field(init=False)
    """How many were raised."""
    _since: datetime | None = field(init=False)
    """As it is stored."""
    _inherited: datetime | None = field(init=False)
    """From a process that delivered before."""
    _latest: tuple[str, datetime] | None = None
    _stored: tuple[datetime | None, int] | None = field(init=False)

    def __post_init__(self) -> None:
        self.alerts = self.subscriber.alerts
        self._since = self._inherited = self.subscriber.failing_since
        self._stored = self._since, self.alerts

    def failed(self, failure: str, at: datetime) -> None:
        """Note a failure."""
        self._latest = failure, at

    def recovered(self) -> None:
        """Note that it has taken something, and all that was open at the start."""
        self._inherited = None

    def seconds(self, now: datetime) -> float:
        """Return for how long it has failed; 0: it does not."""
        return 0.0 if self._since is None else max((now - self._since).total_seconds(), 0.0)

    def change(self, failing_since: float | None, now: datetime) -> HealthChange | None:
        """Return what is to be stored, given since when something is refused (Unix time), and
        raise the alerts that are due; None: nothing has changed.
        """
        found = None if failing_since is None else datetime.fromtimestamp(failing_since, UTC)
        self._since = min((one for one in (found, self._inherited) if one), default=None)
        if self._since is None:
            if self.alerts:
                _log.warning("subscriber takes its events again", subscriber=self.subscriber.name)
            self.alerts = 0
        else:
            self._alert(self._since, now)
        latest, self._latest = self._latest, None
        if self._stored == (self._since, self.alerts) and latest is None:
            return None
        self._stored = self._since, self.alerts
        failure, at = latest or (None, None)
        return HealthChange(self.subscriber.id, self._since, self.alerts, failure, at)

    def not_stored(self) -> None:
        """Note that the last change was not stored."""
        self._stored = None

    def _alert(self, since: datetime, now: datetime) -> None:
        for number in range(self.alerts, reached(since, now, self.calendar)):
            period, level = _STAGES[number]
            getattr(_log, level)(
                "subscriber does not take its events",
                subscriber=self.subscriber.name,
                customer_id=self.subscriber.customer_id,
                since=since.isoformat(),
                longer_than=period,
            )
            self.alerts = number + 1


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
