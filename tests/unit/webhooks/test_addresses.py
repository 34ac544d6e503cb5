"""A webhook is posted to public addresses, and to those that the operator allows.

Processes share subscribers evenly, and settle down.

When a subscriber counts as down, and how long pauses are.

A failing subscriber is reported after 5 minutes, an hour, a day and two business days.
"""

import random
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from structlog.typing import EventDict

from izin.consent import TURKEY_CALENDAR
from izin.ledger.webhooks.deliveries import AssignedSubscriber, HealthChange, shares
from izin.webhooks.dispatcher import (
    DOWN_AFTER,
    DOWN_AFTER_EVENTS,
    FailureWatch,
    SubscriberHealth,
    reached,
)
from izin.webhooks.posting import AllowedTargets, Reply, is_public, reply_of
from tests.support.webhooks import a_subscriber

REFUSED_ADDRESSES = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.0.1",
    "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "192.88.99.1", "224.0.0.1",
    "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1",
    "2001:db8::1", "3fff::1", "2001::1", "100::1", "64:ff9b:1::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::6440:1",
    "2002:7f00:1::", "2002:a00:1::", "2002:c0a8:101::1",
)  # fmt: skip
PUBLIC = (
    "93.184.216.34", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:2800:220:1::1",
    "::ffff:93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1",
)  # fmt: skip
HOUR = 3600.0
SILENT = Reply(None, "no reply")
REFUSED = Reply(422, "refused")
FRIDAY = datetime(2026, 3, 6, 9, 0, tzinfo=UTC)
"""Noon in Turkey; the second business day after is Tuesday 10 March."""


@pytest.mark.parametrize("text", [*REFUSED_ADDRESSES, "192.0.0.0", "192.0.0.9", "192.0.0.255"])
def test_address_of_no_public_host_is_refused(text: str) -> None:
    """Private, shared, local, multicast, for documents, or standing for such an IPv4 address; also
    those that Python 3.11 counts as public, and link-local ones with the name of an interface.
    """
    assert not is_public(ip_address(text))
    assert AllowedTargets().refusal("host", text, is_plain=False) is not None
    assert AllowedTargets().refusal("host", "fe80::1%eth0", is_plain=False) is not None


@pytest.mark.parametrize("text", PUBLIC)
def test_public_address_is_accepted_with_tls_alone(text: str) -> None:
    """Also where it stands for an IPv4 address that is public."""
    assert is_public(ip_address(text))
    assert AllowedTargets().refusal("host", text, is_plain=False) is None
    assert "https" in str(AllowedTargets().refusal("host", text, is_plain=True))


@pytest.mark.parametrize(
    ("host", "address", "is_allowed"),
    [
        ("other", "10.1.2.3", True),
        ("other", "::ffff:10.1.2.3", True),
        ("other", "10.2.0.1", False),
        ("CRM.internal", "192.168.0.1", True),
        ("crm.internal.example.com", "192.168.0.1", False),
        ("other", "::1", True),
    ],
)
def test_operator_allows_hosts_and_networks(host: str, address: str, is_allowed: bool) -> None:
    """Of these the address is not asked for, nor TLS; of nothing else."""
    allowed = AllowedTargets.parse(["10.1.0.0/16", "crm.internal", "::1"])
    assert (allowed.refusal(host, address, is_plain=True) is None) is is_allowed


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"]
)
@pytest.mark.parametrize("listed", ["crm.internal", "169.254.0.0/16", "0.0.0.0/0", "::/0"])
def test_link_local_address_is_never_posted_to(address: str, listed: str) -> None:
    """A name that the operator allows may come to resolve to the machine's credentials."""
    allowed = AllowedTargets.parse([listed])
    assert allowed.refusal("crm.internal", address, is_plain=False)
    assert allowed.refusal("crm.internal", address, is_plain=True)


def owned(*owners: str) -> list[AssignedSubscriber]:
    """Return subscribers with these owners; an empty one is nobody."""
    return [
        AssignedSubscriber(id=number, version=1, owner=one, epoch=1, is_owned=bool(one))
        for number, one in enumerate(owners)
    ]


@pytest.mark.parametrize(
    ("owners", "processes", "take", "give_back"),
    [
        ((), "a", (), ()),
        (("", ""), "a", (0, 1), ()),
        (("", "", ""), "ab", (0, 1), ()),
        (("a", "a", "a", "a"), "ab", (), (2, 3)),
        (("a", "a", "b"), "ab", (), ()),
        (("a", "a", "b", "b"), "abc", (), (1,)),
        (("a", "", ""), "ab", (1,), ()),
        (("a", "a", "a"), "a", (), ()),
    ],
)
def test_process_takes_its_part(
    owners: tuple[str, ...], processes: str, take: tuple[int, ...], give_back: tuple[int, ...]
) -> None:
    """Rounded up; what is free goes first, and the owner of more than its part gives back."""
    assert shares(owned(*owners), list(processes), "a") == ([*take], [*give_back])


@pytest.mark.parametrize("seed", range(20))
def test_shares_settle_and_leave_nobody_without(seed: int) -> None:
    """From any beginning, in a few rounds; then nothing moves any more."""
    chance = random.Random(seed)
    processes = ["a", "b", "c", "d"][: chance.randint(1, 4)]
    owners = [chance.choice([*processes, "", ""]) for _ in range(chance.randint(1, 15))]
    for _ in range(40):
        before = list(owners)
        for process in processes:
            take, give_back = shares(owned(*owners), processes, process)
            for number in give_back:
                owners[number] = ""
            for number in take:
                owners[number] = process
        if owners == before:
            break
    assert owners == before
    assert "" not in owners
    counts = [owners.count(one) for one in processes]
    assert max(counts) - min(counts) <= 1


def a_health() -> SubscriberHealth:
    """Return the health of a subscriber that has not failed."""
    return SubscriberHealth(timedelta(seconds=1), timedelta(hours=1))


@pytest.mark.parametrize(
    ("ids", "reply", "recovers", "is_down"),
    [
        (["msg_1"] * 1000, REFUSED, False, False),
        ([f"msg_{number}" for number in range(100)], SILENT, True, False),
        ([f"msg_{number}" for number in range(DOWN_AFTER_EVENTS - 1)], REFUSED, False, False),
        ([f"msg_{number}" for number in range(DOWN_AFTER_EVENTS)], REFUSED, False, True),
    ],
    ids=["one event", "success between", "some events", "every event"],
)
def test_subscriber_is_down_that_refuses_everything(
    ids: list[str], reply: Reply, recovers: bool, is_down: bool
) -> None:
    """Different events, with no success between them: one of them may be refused for ever."""
    health = a_health()
    for now, one in enumerate(ids):
        health.failed(one, reply, float(now), 0.5)
        if recovers:
            assert not health.took()
    assert health.is_down is is_down
    assert is_down or health.may_send(float(len(ids)), under_way=7)


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
    watch = FailureWatch(a_subscriber(failing_since=FRIDAY, alerts=2), TURKEY_CALENDAR)
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
