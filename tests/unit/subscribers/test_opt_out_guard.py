"""What the guard lets out, by the opt-outs that it knows; without Kafka."""

from dataclasses import replace
from datetime import timedelta

import pytest

from izin.kafka.follower import TopicFollower
from izin.runtime.kafka_environment import KafkaAccess
from izin.schemas.codec import Codec
from izin.subscribers import (
    ChangeId,
    ChangeKind,
    OptedOut,
    PermissionChanged,
    PermissionErased,
    Position,
    Registered,
    Status,
    UnreadableRecord,
)
from izin.subscribers.changes import KeyFilter
from izin.subscribers.subscription import OptOutGuard
from tests.support.builders import CUSTOMER, NOON
from tests.support.subscribers.published import key_of

KEY = key_of(1)
ENVELOPE = {"id": ChangeId("test", "1"), "occurred_at": NOON, "position": Position("topic", 0, 0)}
YES = PermissionChanged(
    **ENVELOPE,
    key=KEY,
    customer_id=CUSTOMER,
    may_send=True,
    reason="registered",
    desired=Status.ONAY,
    registered=Registered.ONAY,
    registered_at=NOON,
    consent_date=NOON,
    since=NOON,
)
OUT = OptedOut(
    **ENVELOPE,
    key=KEY,
    customer_id=CUSTOMER,
    opted_out_at=NOON,
    origin="iys",
    source=None,
    event_id="event-1",
)


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Return a list whose last value is for how long the opt-outs were not seen complete."""
    found: list[float | None] = [0.0]
    monkeypatch.setattr(TopicFollower, "age", lambda _: found[-1])
    return found


@pytest.fixture
def guard() -> OptOutGuard:
    """Return a guard that never reads anything."""
    return OptOutGuard(KafkaAccess(bootstrap_servers="127.0.0.1:1"), Codec(), KeyFilter())


@pytest.mark.usefixtures("ages")
def test_delivered_opt_out_denies_at_once(guard: OptOutGuard):
    """Before the topic was read a second time; a newer consent opens the key."""
    assert guard.review(YES) is YES
    assert guard.review(OUT) is OUT
    assert guard.review(YES) == replace(YES, may_send=False, reason="opted-out")
    later = NOON + timedelta(seconds=1)
    newer = replace(YES, registered_at=later, consent_date=later)
    assert guard.review(newer) is newer
    half = replace(newer, consent_date=NOON)
    undated = replace(YES, registered_at=None, consent_date=None)
    for one in (half, undated):
        assert guard.review(one) == replace(one, may_send=False, reason="opted-out")


@pytest.mark.usefixtures("ages")
def test_delivered_unreadable_opt_out_denies(guard: OptOutGuard):
    """Its instant is lost, so it is taken for now. An unreadable permission closes nothing."""
    unreadable = UnreadableRecord(
        **ENVELOPE, kind=ChangeKind.PERMISSIONS, key=KEY, reason="x", value=b""
    )
    assert guard.review(unreadable) is unreadable
    assert guard.review(YES) is YES
    opt_out = replace(unreadable, kind=ChangeKind.OPT_OUTS)
    assert guard.review(opt_out) is opt_out
    assert guard.review(YES) == replace(YES, may_send=False, reason="opted-out")


@pytest.mark.parametrize("age", [None, 60.0])
def test_permission_alone_waits_for_the_opt_outs(
    guard: OptOutGuard, ages: list[float | None], age: float | None
):
    """They were never, or long not, seen complete: what stops comes all the same."""
    ages.append(age)
    assert guard.review(YES) is None
    for one in (OUT, replace(YES, may_send=False), PermissionErased(**ENVELOPE, key=KEY)):
        assert guard.review(one) is one
