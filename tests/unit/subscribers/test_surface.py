"""What the subscriber library offers, and what it shows.

What the guard lets out, by the opt-outs that it knows; without Kafka.

Batches grow with a quick caller, and shrink with a slow one.

Where partitions start, although a leader is being elected.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from izin import subscribers
from izin.kafka.follower import TopicFollower
from izin.runtime import broker_faults
from izin.runtime.kafka_environment import KafkaAccess
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import Codec
from izin.subscribers import (
    Change,
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
from izin.subscribers.lane import BatchSize, Starts
from izin.subscribers.subscription import OptOutGuard
from tests.support.builders import CUSTOMER, NOON, a_key
from tests.support.published import key_of

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
PLACE = TopicPartition("permissions", 0)


def test_exported_names_are_these():
    """A change of them is a change for other teams: name it in the changelog."""
    assert set(subscribers.__all__) == {
        *("ApiKeyRefusedError", "BlockingGate", "Gate", "GateAnswer", "GateClosedError"),
        *("GateUnavailableError", "MessageClass", "NotPermittedError", "Question"),
        *("QuestionRefusedError", "ReceiptKind", "GateVerdict"),
        *("Answer", "BrokerError", "Change", "ChangeId", "ChangeKind", "Channel"),
        *("CheckpointLostError", "CheckpointStore", "ConfirmationOrderError", "ConsentKey"),
        *("KafkaAccess", "OptedOut", "OutcomeKind", "OutcomeReached", "PermissionChanged"),
        *("PermissionErased", "PermissionList", "PermissionReason", "Position", "RecipientType"),
        *("Registered", "RegistryError", "SettingError", "Status", "UnconfirmedChangesError"),
        *("UnreadableRecord", "subscribe"),
    }
    assert all(hasattr(subscribers, one) for one in subscribers.__all__)


async def test_change_made_by_hand_can_be_confirmed():
    """So that a caller's own tests need no Kafka."""
    change = Change(id=ChangeId("/izin", "1"), occurred_at=NOON, position=Position("t", 0, 7))
    await change.done()


def test_no_representation_shows_a_recipient():
    """Changes end up in logs and in tracebacks."""
    change = UnreadableRecord(
        id=ChangeId("/izin", "1"),
        occurred_at=NOON,
        position=Position("permissions", 0, 7),
        kind=subscribers.ChangeKind.PERMISSIONS,
        key=a_key(),
        reason="not a Permission",
        value=a_key().encode(),
    )
    assert a_key().recipient not in repr(change)


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_log_event_has_its_fields_behind_it(level: str, caplog: pytest.LogCaptureFixture):
    """As text, for nobody set up this library's logging."""
    caplog.set_level(logging.INFO)
    getattr(PlainLogger("izin.test"), level)("topic not read", topic="permissions", offset=7)
    (record,) = caplog.records
    assert record.levelname == level.upper()
    assert record.getMessage() == "topic not read topic=permissions offset=7"


def test_disabled_level_costs_no_text(caplog: pytest.LogCaptureFixture):
    """Nothing is written, and nothing is formatted."""
    caplog.set_level(logging.ERROR)
    PlainLogger("izin.test").info("topic read")
    assert caplog.records == []


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


def test_quick_caller_gets_greater_batches_up_to_a_limit():
    """Doubled while batches are full."""
    pace, now, sizes = BatchSize(), 100.0, []
    for _ in range(9):
        sizes.append(pace.size(now))
        pace.read(sizes[-1], now)
        now += 0.01
    assert sizes == [1, 2, 4, 8, 16, 32, 50, 50, 50]


def test_slow_caller_gets_single_records_soon():
    """A rebalance waits for one batch at most."""
    pace, now = BatchSize(), 100.0
    for _ in range(8):
        pace.read(pace.size(now), now)
    sizes = []
    for _ in range(4):
        now += 1.0
        sizes.append(pace.size(now))
        pace.read(sizes[-1], now)
    assert sizes == [12, 3, 1, 1]


def test_batches_do_not_grow_while_nothing_comes():
    """What comes then may be slow to handle."""
    pace = BatchSize()
    pace.read(0, 100.0)
    assert [pace.size(100.0 + step / 100) for step in range(5)] == [1] * 5


class Moving:
    """A consumer whose broker answers so many questions with an error first."""

    def __init__(self, code: int, times: int) -> None:
        self.code = code
        self.left = times

    def committed(self, places: Sequence[TopicPartition], **_: object) -> list[TopicPartition]:
        """Return no checkpoint."""
        return [TopicPartition(one.topic, one.partition, -1001) for one in places]

    def get_watermark_offsets(self, _place: TopicPartition, **_: object) -> tuple[int, int]:
        """Return where the partition begins and ends."""
        self.left -= 1
        if self.left >= 0:
            raise KafkaException(KafkaError(self.code))
        return 0, 7

    def offsets_for_times(
        self, places: Sequence[TopicPartition], **_: object
    ) -> list[TopicPartition]:
        """Return that no record is so late."""
        return [TopicPartition(one.topic, one.partition, -1) for one in places]


def test_start_is_asked_again_while_a_leader_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new topic's broker answers so: the subscriber begins at the end, and does not stop."""
    monkeypatch.setattr(broker_faults, "_POLL", 0)
    client = Moving(KafkaError.NOT_LEADER_FOR_PARTITION, 2)
    (start,), new = Starts(datetime.now(UTC)).of(client, [PLACE])  # type: ignore[arg-type]  # a part of one
    assert (start.offset, new) == (7, [start])


def test_other_error_of_a_start_is_raised() -> None:
    """What no patience can repair is not asked again."""
    client = Moving(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)
    with pytest.raises(KafkaException):
        Starts(datetime.now(UTC)).of(client, [PLACE])  # type: ignore[arg-type]  # as above
    assert client.left == 0
