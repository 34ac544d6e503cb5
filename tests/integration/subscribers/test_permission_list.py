"""The list that keeps itself: complete at first, then up to date, and no where it may not be."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.kafka.access import KafkaAccess
from izin.kafka.clients import committed_ends, ensure_topics
from izin.kafka.follower import follower
from izin.local import Kafka
from izin.runtime.settings import KafkaSettings
from izin.subscribers import Answer, BrokerError, Channel, ConsentKey, PermissionList
from tests.contract.schemas.test_topics import set_of_topic
from tests.support.builders import NOON
from tests.support.order.verdict import committed_records
from tests.support.published import TopicWriter, a_permission, key_of
from tests.support.waiting import until

pytestmark = pytest.mark.broker

LATER = NOON + timedelta(hours=1)


async def shown(effect: Callable[[], bool]) -> None:
    """Return once ``effect`` is there."""
    await asyncio.to_thread(until, effect, within=30)


async def test_snapshot_is_complete_and_followed(access: KafkaAccess, writer: TopicWriter):
    """A missing key is a no, and tombstones remove. An opt-out that the ledger does not know yet
    counts, unless it is older than the consent. What cannot be read closes its key, for an opt-out
    may be in it, harms no other, and is counted. Then changes arrive.
    """
    yes, no, erased, missing, closed, opened, first, second = map(key_of, range(8))
    writer.permit(yes, no, erased, closed, first, second, at=NOON)
    writer.permit(opened, at=LATER)
    writer.opt_out(closed, opened, at=NOON + timedelta(minutes=1))
    writer.deny(no)
    writer.erase(erased)
    writer.raw(writer.topics.permissions, first.encode(), b"{}")
    for key in (second.encode(), b"\xff"):
        writer.raw(writer.topics.opt_outs, key, b"{}")
    async with PermissionList(access=access) as permissions:
        expected = {
            yes: (True, "registered"),
            no: (False, "opted-out"),
            erased: (False, "not-registered"),
            missing: (False, "not-registered"),
            closed: (False, "opted-out"),
            opened: (True, "registered"),
            first: (False, "unreadable"),
            second: (False, "opted-out"),
        }
        answers = {one: permissions.answer(one) for one in expected}
        assert {one: (it.may_send, it.reason) for one, it in answers.items()} == expected
        assert permissions.may_send(replace(yes, recipient="0555 000 00 00"))
        assert not permissions.may_send(replace(yes, recipient="nobody"))
        assert (len(permissions), permissions.unreadable) == (6, 3)
        writer.permit(missing)
        writer.erase(yes)
        await shown(lambda: permissions.may_send(missing) and not permissions.may_send(yes))
    assert permissions.answer(missing).reason == "stale"
    assert permissions.age is None


async def test_opt_out_closes_at_once(access: KafkaAccess, writer: TopicWriter):
    """The ledger has not said so yet; and a permission that it publishes meanwhile, by the same
    consent, does not open the key. One by a newer consent does.
    """
    key = key_of(1)
    writer.permit(key, at=NOON)
    async with PermissionList(access=access) as permissions:
        assert permissions.may_send(key)
        writer.opt_out(key, at=NOON + timedelta(minutes=1))
        await shown(lambda: not permissions.may_send(key))
        writer.permit(key, at=NOON)
        writer.permit(key_of(2))
        await shown(lambda: permissions.may_send(key_of(2)))
        assert permissions.answer(key).reason == "opted-out"
        writer.permit(key, at=LATER)
        await shown(lambda: permissions.may_send(key))


async def test_aborted_transactions_are_not_believed(access: KafkaAccess, writer: TopicWriter):
    """And the list is complete behind them, in every partition."""
    some = [key_of(one) for one in range(30)]
    topic = writer.topics.permissions
    records = [(one, a_permission(one)) for one in some]
    writer.in_transaction(topic, records[:10], commit=True)
    writer.in_transaction(topic, records[10:], commit=False)
    async with PermissionList(access=access) as permissions:
        assert [permissions.may_send(one) for one in some] == [True] * 10 + [False] * 20
        age = permissions.age
        assert age is not None
        writer.in_transaction(topic, records[10:], commit=False)
        await shown(lambda: (permissions.age or age) < timedelta(seconds=0.5))
        assert len(permissions) == 10


async def test_changes_are_reported_after_the_snapshot(access: KafkaAccess, writer: TopicWriter):
    """With the new answer; what fails in the caller's function ends nothing."""
    reported: list[tuple[ConsentKey, Answer]] = []

    def note(key: ConsentKey, answer: Answer) -> None:
        reported.append((key, answer))
        raise RuntimeError("the caller's")

    key = key_of(1)
    writer.permit(key)
    async with PermissionList(access=access, on_change=note) as permissions:
        writer.opt_out(key, at=LATER)
        await shown(lambda: len(reported) == 1)
        writer.deny(key)
        writer.erase(key)
        writer.deny(key_of(2), reason="a-later-reason")
        await shown(lambda: len(reported) == 2)
        assert permissions.answer(key_of(2)) == reported[1][1]
    (first, closed), (second, answer) = reported
    assert (first, closed.may_send, closed.reason) == (key, False, "opted-out")
    assert (second, answer.reason) == (key_of(2), "a-later-reason")


async def test_other_brands_and_channels_are_left_out(access: KafkaAccess, writer: TopicWriter):
    """They take no memory, and their answer is no."""
    key, other = key_of(1), key_of(1, brand_code=100002)
    call = key_of(1, channel=Channel.ARAMA)
    writer.permit(key, other, call)
    wanted = {"brands": [100001], "channels": [Channel.MESAJ]}
    async with PermissionList(access=access, **wanted) as permissions:  # type: ignore[arg-type]
        assert [permissions.may_send(one) for one in (key, other, call)] == [True, False, False]
        assert len(permissions) == 1


class CompactingKafka(Kafka):
    """Looks for what it can compact all the time, not every fifteen seconds."""

    def _settings(self, port: int) -> Mapping[str, object]:
        return {**super()._settings(port), "log.cleaner.backoff.ms": 50}


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Yield a broker that a test may freeze."""
    with CompactingKafka(tmp_path_factory.mktemp("kafka")) as kafka:
        ensure_topics(KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=1))
        yield kafka


async def test_snapshot_is_taken_while_the_topic_is_compacted(own_kafka: Kafka):
    """What is gone was older than what is there, so the answers are the latest ones."""
    settings = KafkaSettings(bootstrap_servers=own_kafka.bootstrap_servers)
    topic = settings.topics.permissions.name
    quickly = {
        "segment.ms": "1",
        "min.cleanable.dirty.ratio": "0.0",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "1",
    }
    for name, value in quickly.items():
        set_of_topic(settings, topic, name, value)
    writer, some = TopicWriter(settings), [key_of(one) for one in range(20)]
    access = KafkaAccess(bootstrap_servers=own_kafka.bootstrap_servers)

    def write(times: int) -> None:
        for _ in range(times):
            writer.permit(*some)
            writer.deny(*some[:10])

    def is_compacted() -> bool:
        write(1)
        return len(offsets(settings, topic)) < ends(settings, topic)

    await shown(is_compacted)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(write, 20))
        async with PermissionList(access=access) as permissions:
            assert all(map(permissions.may_send, some[10:]))
    assert is_compacted()
    async with PermissionList(access=access) as permissions:
        assert [permissions.may_send(one) for one in some] == [False] * 10 + [True] * 10


def ends(settings: KafkaSettings, topic: str) -> int:
    """Return how many records a topic of one partition ever had."""
    return committed_ends(settings, topic)[0]


def offsets(settings: KafkaSettings, topic: str) -> list[int]:
    """Return the offsets of the records that a topic of one partition still has."""
    end = ends(settings, topic)
    found = (one.offset() or 0 for one in committed_records(settings, topic))
    return [offset for offset in found if offset < end]


async def test_list_says_no_while_kafka_is_silent(own_kafka: Kafka):
    """It cannot know of new opt-outs then. It says yes again once Kafka answers."""
    settings = KafkaSettings(bootstrap_servers=own_kafka.bootstrap_servers)
    key = key_of(100)
    TopicWriter(settings).permit(key)
    access = KafkaAccess(bootstrap_servers=own_kafka.bootstrap_servers)
    bound = timedelta(seconds=2.5)
    assert own_kafka.pid is not None
    async with PermissionList(access=access, stale_after=bound) as permissions:
        await shown(lambda: permissions.may_send(key))
        os.kill(own_kafka.pid, signal.SIGSTOP)
        try:
            await shown(lambda: permissions.answer(key).reason == "stale")
            assert permissions.is_stale
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)
        await shown(lambda: permissions.may_send(key))


async def test_entering_fails_where_kafka_is_not(monkeypatch: pytest.MonkeyPatch):
    """With the cause and a remedy, and nothing is left running."""
    monkeypatch.setattr(follower, "_TIMEOUT", 1.0)
    access = KafkaAccess(bootstrap_servers="127.0.0.1:1")
    permissions = PermissionList(access=access)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1.*KAFKA_BOOTSTRAP_SERVERS"):
        await permissions.__aenter__()
    assert permissions.is_stale
    names = {one.name for one in threading.enumerate()}
    assert not names & {access.topics.opt_outs.name, access.topics.permissions.name}


async def test_entering_may_be_cancelled(access: KafkaAccess, writer: TopicWriter):
    """The snapshot of a large topic takes a while: it ends with the task."""
    writer.permit(*(key_of(one) for one in range(100)))
    permissions = PermissionList(access=access)
    entering = asyncio.create_task(permissions.__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert permissions.age is None
