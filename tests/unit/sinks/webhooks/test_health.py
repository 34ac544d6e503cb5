"""When a subscriber counts as down, and how long pauses are."""

from datetime import timedelta

import pytest

from izin.sinks.webhooks.dispatcher import DOWN_AFTER, DOWN_AFTER_EVENTS, SubscriberHealth
from izin.sinks.webhooks.posting import Reply, reply_of

HOUR = 3600.0
SILENT = Reply(None, "no reply")
REFUSED = Reply(422, "refused")


def a_health() -> SubscriberHealth:
    """Return the health of a subscriber that has not failed."""
    return SubscriberHealth(timedelta(seconds=1), timedelta(hours=1))


def test_one_event_that_is_refused_says_nothing_of_the_others() -> None:
    """It may be refused for ever."""
    health = a_health()
    for now in range(1000):
        health.failed("msg_1", REFUSED, float(now), 0.5)
        assert not health.is_down
        assert health.may_send(float(now), under_way=7)


def test_subscriber_without_a_reply_is_down_and_tried_one_at_a_time() -> None:
    """After a few requests in a row."""
    health = a_health()
    for _ in range(DOWN_AFTER):
        health.failed("msg_1", SILENT, 0.0, 0.5)
    assert health.is_down
    assert not health.may_send(0.5, under_way=0)
    assert health.may_send(2.5, under_way=0)
    assert not health.may_send(2.5, under_way=1)
    assert health.took()
    assert health.may_send(2.5, under_way=7)


def test_subscriber_that_refuses_everything_is_down() -> None:
    """Different events, with no success between them."""
    health = a_health()
    for number in range(DOWN_AFTER_EVENTS):
        assert not health.is_down
        health.failed(f"msg_{number}", REFUSED, 0.0, 0.5)
    assert health.is_down


def test_success_between_failures_keeps_a_subscriber_up() -> None:
    """However often it fails."""
    health = a_health()
    for number in range(100):
        health.failed(f"msg_{number}", SILENT, float(number), 0.5)
        assert not health.took()


def test_pauses_grow_to_an_hour_and_never_end() -> None:
    """Requests that were under way when it failed do not lengthen them."""
    health, now, pauses = a_health(), 0.0, []
    for _ in range(40):
        for _ in range(8):
            health.failed("msg_1", SILENT, now, 0.5)
        pauses.append(health.closed_until - now)
        now = health.closed_until
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert set(pauses[12:]) == {HOUR}


@pytest.mark.parametrize(
    ("chance", "asked", "seconds"),
    [(0.0, None, 3.0), (1.0, None, 5.0), (0.5, 60.0, 60.0), (0.5, 1e9, HOUR), (0.5, 0.0, 4.0)],
)
def test_pause_varies_and_honours_retry_after(
    chance: float, asked: float | None, seconds: float
) -> None:
    """But never beyond the longest pause."""
    reply = Reply(503, "busy", asked)
    assert a_health().pause(3, reply, chance) == seconds


def test_retry_after_of_a_busy_subscriber_holds_everything() -> None:
    """429 and 503 tell of the subscriber, and not of one event."""
    health = a_health()
    health.failed("msg_1", Reply(429, "too many", 30.0), 0.0, 0.5)
    assert not health.is_down
    assert not health.may_send(29.0, under_way=0)
    assert health.may_send(30.0, under_way=0)


@pytest.mark.parametrize(
    ("status", "header", "failure", "retry_after"),
    [
        (200, None, None, None),
        (204, "5", None, None),
        (301, None, "status 301: a redirect, which is not followed", None),
        (410, None, "status 410: refused", None),
        (503, "120", "status 503: refused", 120.0),
        (503, "soon", "status 503: refused", None),
        (503, "Mon, 02 Mar 1998 09:00:00 GMT", "status 503: refused", 0.0),
        (503, "9" * 400, "status 503: refused", 999_999_999.0),
    ],
)
def test_reply_is_read(
    status: int, header: str | None, failure: str | None, retry_after: float | None
) -> None:
    """Only 2xx is an acknowledgement."""
    assert reply_of(status, header) == Reply(status, failure, retry_after)
