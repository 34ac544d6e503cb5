"""What the doctor says of subscribers: how many take their events, and which ones do not."""

from datetime import timedelta

from izin.cli.doctor.faults import of_webhooks
from izin.cli.doctor.finding import CheckState
from tests.support.builders import NOON
from tests.support.webhooks import a_subscriber

GOOD = a_subscriber(name="good")
PAUSED = a_subscriber(name="paused", paused_at=NOON, paused_for="operator")


def failing(minutes: int) -> object:
    """Return a subscriber that has been failing for so long."""
    since = NOON - timedelta(minutes=minutes)
    return a_subscriber(name="bad", failing_since=since, last_failure="status 500: refused")


def test_subscriber_failing_for_a_moment_is_counted():
    """It is no fault yet, and it does not take its events either."""
    (found,) = of_webhooks([GOOD, failing(1), PAUSED], running=1, now=NOON)
    assert found.state is CheckState.OK
    assert found.what == ("1 running; of 3 subscribers 1 take their events, 1 failing, 1 paused")


def test_subscriber_failing_for_longer_is_a_fault():
    """With since when, why, and the command that shows more."""
    (found,) = of_webhooks([GOOD, failing(6)], running=1, now=NOON)
    assert found.state is CheckState.WRONG
    assert "subscriber bad has not taken something since" in found.what
    assert "izin subscribers show bad" in found.what
