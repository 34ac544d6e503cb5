"""Each change at least once, from a real broker: across kills, rebalances and transactions.

No permission after an opt-out that is newer than its consent, from a real broker.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent import NaiveInstantError
from izin.kafka.access import KafkaAccess
from izin.kafka.follower import follower
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.subscribers import (
    BrokerError,
    Change,
    ChangeKind,
    Channel,
    CheckpointLostError,
    ConfirmationOrderError,
    OptedOut,
    OutcomeReached,
    PermissionChanged,
    PermissionErased,
    RegistryError,
    UnconfirmedChangesError,
    UnreadableRecord,
    lane,
    subscribe,
)
from izin.subscribers.subscription import OptOutGuard
from tests.support.builders import NOON
from tests.support.published import (
    TopicWriter,
    an_opt_out,
    an_outcome,
    key_of,
    remove_below,
)
from tests.support.waiting import until

pytestmark = pytest.mark.broker

OPT_OUTS = (ChangeKind.OPT_OUTS,)


async def take(
    access: KafkaAccess,
    count: int,
    kinds: Collection[ChangeKind] = OPT_OUTS,
    *,
    confirm: bool = True,
    subscriber: str = "sms",
    **options: Any,  # noqa: ANN401  # as subscribe takes them
) -> list[Change]:
    """Return the next ``count`` changes of a subscriber, which is closed then."""
    found: list[Change] = []
    changes = subscribe(access.topic_prefix + subscriber, kinds, access=access, **options)
    async with aclosing(changes), asyncio.timeout(20):
        async for change in changes:
            found.append(change)
            if confirm:
                await change.done()
            if len(found) == count:
                break
    return found


def keys(changes: Collection[Change]) -> list[str]:
    """Return the keys of changes, as texts."""
    return [str(one.key) for one in changes if isinstance(one, OptedOut)]


async def test_kinds_come_as_typed_values(access: KafkaAccess, writer: TopicWriter):
    """Opt-outs first, though they were written last; enumerations, and aware instants."""
    key, later = key_of(1), NOON + timedelta(minutes=1)
    writer.permit(key, at=later)
    writer.erase(key)
    writer.write(writer.topics.outcomes, [(key, an_outcome(key))])
    writer.opt_out(key)
    found = await take(access, 4, list(ChangeKind))
    by_type = {type(one): one for one in found}
    opted_out = by_type[OptedOut]
    assert isinstance(opted_out, OptedOut)
    assert (opted_out.key, opted_out.opted_out_at, opted_out.origin) == (key, NOON, "iys")
    permission = by_type[PermissionChanged]
    assert isinstance(permission, PermissionChanged)
    assert permission.may_send
    assert permission.registered_at == later
    outcome = by_type[OutcomeReached]
    assert isinstance(outcome, OutcomeReached)
    assert (outcome.outcome, outcome.origin_ref) == ("accepted", "signup-1")
    erased = by_type[PermissionErased]
    assert isinstance(erased, PermissionErased)
    assert erased.key == key
    assert opted_out.id.source == "/izin/test"
    assert key.recipient not in repr(found)


async def test_unconfirmed_change_comes_again(access: KafkaAccess, writer: TopicWriter):
    """Those behind it in its partition too, confirmed or not; with the same ids."""
    writer.opt_out(*[key_of(1, brand_code=one) for one in range(100001, 100021)])
    first = await take(access, 20, confirm=False)
    await first[0].done()  # its subscription is closed: that confirms nothing
    second = await take(access, 20)
    assert {one.id for one in first} == {one.id for one in second}
    writer.opt_out(key_of(2))
    assert keys(await take(access, 1)) == [str(key_of(2))]


async def test_early_confirmation_does_not_skip_an_earlier_change(
    access: KafkaAccess, writer: TopicWriter
):
    """Confirmed is what is below the first change that is not."""
    key = key_of(1)
    for minutes in range(3):
        writer.opt_out(key, at=NOON + timedelta(minutes=minutes))
    changes = subscribe(f"{access.topic_prefix}sms", OPT_OUTS, access=access)
    async with aclosing(changes):
        first, second, third = [await anext(changes) for _ in range(3)]
        await third.done()
        await first.done()
    again = await take(access, 2)
    assert [one.id for one in again] == [second.id, third.id]


def subscriber_process(
    access: KafkaAccess, file: Path, killed_after: int
) -> "subprocess.Popen[bytes]":
    script = Path(__file__).with_name("subscriber_process.py")
    words = (access.bootstrap_servers, access.topic_prefix, str(file), str(killed_after))
    return subprocess.Popen([sys.executable, str(script), *words])


def handled(file: Path) -> list[tuple[str, str]]:
    """Return the partition and the id of each change that was handled."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [(partition, own) for partition, own in (one.split() for one in lines)]


def test_killed_instances_lose_nothing(access: KafkaAccess, writer: TopicWriter, tmp_path: Path):
    """One is killed between handling and confirming, another takes over: each change is handled,
    those of a partition in their order but for the repetitions.
    """
    file = tmp_path / "handled"
    writer.opt_out(*(key_of(one) for one in range(300)))
    living = None
    try:
        assert subscriber_process(access, file, 90).wait(30) == -9
        living = subscriber_process(access, file, 0)
        until(lambda: len({own for _, own in handled(file)}) == 300, within=30)
        writer.opt_out(key_of(1000))
        until(lambda: len({own for _, own in handled(file)}) == 301)
    finally:
        if living is not None:
            living.kill()
            living.wait()
    assert 1 <= len(handled(file)) - 301 <= 90
    for partition in "012":
        own = [int(one.split("-")[1]) for where, one in handled(file) if where == partition]
        assert list(dict.fromkeys(own)) == sorted(set(own))


async def test_instances_share_partitions(access: KafkaAccess, writer: TopicWriter):
    """A second instance takes some over, and gives them back when it ends; nothing is lost, and
    what was confirmed does not come again.
    """
    seen: dict[str, list[str]] = {"one": [], "two": []}

    async def handle(name: str, changes: AsyncIterator[Change]) -> None:
        async for change in changes:
            seen[name].append(change.id.id)
            await change.done()

    async def publish_until(done: Any) -> int:  # noqa: ANN401  # a condition
        published = 0
        async with asyncio.timeout(20):
            while not done():
                await asyncio.to_thread(writer.opt_out, key_of(published), key_of(published + 1))
                published += 2
        return published

    def subscription() -> Any:  # noqa: ANN401  # an asynchronous generator
        return subscribe(f"{access.topic_prefix}sms", OPT_OUTS, access=access)

    first = asyncio.create_task(handle("one", subscription()))
    published = await publish_until(lambda: seen["one"])
    second = asyncio.create_task(handle("two", subscription()))
    published += await publish_until(lambda: len(seen["two"]) > 4)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    two = len(seen["two"])
    published += 40
    await asyncio.to_thread(writer.opt_out, *(key_of(one) for one in range(40)))
    await asyncio.to_thread(until, lambda: len({*seen["one"], *seen["two"]}) == published)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert len(seen["two"]) == two
    assert len(seen["one"]) == len(set(seen["one"]))
    assert len({*seen["one"]} & {*seen["two"]}) <= 1


class MemoryStore:
    """Keeps checkpoints as a database would, the greatest of each partition."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], int] = {}

    async def load(self, topic: str, partition: int) -> int | None:
        return self.kept.get((topic, partition))

    async def save(self, topic: str, partition: int, offset: int) -> None:
        self.kept[topic, partition] = max(offset, self.kept.get((topic, partition), 0))


async def test_checkpoints_may_be_in_a_store(access: KafkaAccess, writer: TopicWriter):
    """They decide, whatever Kafka's group has; a change is saved while it is confirmed."""
    store, key = MemoryStore(), key_of(1)
    writer.opt_out(key, key_of(2), key_of(3))
    found = await take(access, 3, checkpoints=store)
    assert sum(store.kept.values()) == 3
    store.kept[found[0].position[:2]] -= 1
    assert len(await take(access, 1, checkpoints=store)) == 1


async def test_store_is_confirmed_in_order(access: KafkaAccess, writer: TopicWriter):
    """A later change would carry the checkpoint over an earlier one. Saving twice does no harm:
    a transaction that was rolled back is done again.
    """
    store = MemoryStore()
    for minutes in range(2):
        writer.opt_out(key_of(1), at=NOON + timedelta(minutes=minutes))
    changes = subscribe(f"{access.topic_prefix}sms", OPT_OUTS, access=access, checkpoints=store)
    async with aclosing(changes):
        first, second = await anext(changes), await anext(changes)
        with pytest.raises(ConfirmationOrderError, match="before an earlier one"):
            await second.done()
        await first.done()
        store.kept.clear()
        await first.done()
        await second.done()
    assert list(store.kept.values()) == [2]


async def test_store_learns_of_what_nobody_wants(access: KafkaAccess, writer: TopicWriter):
    """Else its checkpoint would be older than the topic one day."""
    store = MemoryStore()
    writer.opt_out(key_of(1, brand_code=100002))
    changes = subscribe(
        f"{access.topic_prefix}sms", OPT_OUTS, access=access, checkpoints=store, brands={100001}
    )
    async with aclosing(changes), asyncio.timeout(20):
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.to_thread(until, lambda: bool(store.kept))
        waiting.cancel()
        await asyncio.wait([waiting])
    assert list(store.kept.values()) == [1]


async def test_filters_leave_out_other_keys(access: KafkaAccess, writer: TopicWriter):
    """By brand and by channel; what is left out does not come after a restart either."""
    wanted = key_of(2, channel=Channel.MESAJ)
    writer.opt_out(key_of(2, channel=Channel.ARAMA), key_of(3, brand_code=100002), wanted)
    options: dict[str, Any] = {"brands": {100001}, "channels": {Channel.MESAJ}}
    assert keys(await take(access, 1, **options)) == [str(wanted)]


@pytest.mark.parametrize("stored", [False, True])
async def test_since_begins_there_once(access: KafkaAccess, writer: TopicWriter, stored: bool):
    """Where there is a checkpoint it counts: what came between two starts is not missed, though
    the second says "from now on" again.
    """
    options: dict[str, Any] = {"checkpoints": MemoryStore()} if stored else {}
    topic = writer.topics.opt_outs
    old, new = key_of(1), key_of(2)
    writer.raw(topic, old.encode(), writer.encode(topic, an_opt_out(old)))
    since = datetime.now(UTC) + timedelta(milliseconds=2)
    await asyncio.to_thread(until, lambda: datetime.now(UTC) > since + timedelta(milliseconds=2))
    writer.raw(topic, new.encode(), writer.encode(topic, an_opt_out(new)))
    found = await take(access, 1, since=since, **options)
    assert keys(found) == [str(new)]
    between = [key_of(number) for number in range(10, 20)]
    writer.opt_out(*between)
    found = await take(access, 10, since=datetime.now(UTC) + timedelta(hours=1), **options)
    assert set(keys(found)) == set(map(str, between))


async def test_unreadable_record_is_delivered(access: KafkaAccess, writer: TopicWriter):
    """In its place, with its key; those around it are read as ever."""
    topic, key = writer.topics.opt_outs, key_of(1)
    writer.opt_out(key)
    writer.raw(topic, key.encode(), b"{}")
    writer.raw(topic, key.encode(), None)
    writer.raw(topic, key.encode(), writer.encode(topic, an_opt_out(key, status="ONAY")))
    writer.opt_out(key, at=NOON + timedelta(minutes=1))
    writer.raw(topic, b"\xff", b"{}", partition=0)
    writer.raw(topic, key_of(1, brand_code=100002).encode(), b"{}")
    found = await take(access, 6, brands=[100001])
    own = [one for one in found if getattr(one, "key", None) == key]
    assert [type(one) for one in own] == [OptedOut, *[UnreadableRecord] * 3, OptedOut]
    (unknown,) = [one for one in found if one not in own]
    assert isinstance(unknown, UnreadableRecord)
    assert (unknown.key, unknown.value, unknown.kind) == (None, b"{}", ChangeKind.OPT_OUTS)
    assert unknown.id == (f"{topic.name}/0", str(unknown.position.offset))


async def test_record_whose_schema_is_out_of_reach_is_read_later(
    access: KafkaAccess, writer: TopicWriter, monkeypatch: pytest.MonkeyPatch
):
    """It is not skipped, and not taken for unreadable."""
    faults, decode = [RegistryError("the registry is away")] * 2, Codec.decode

    def failing(codec: Codec, record: str, data: bytes) -> dict[str, Any]:
        if faults:
            raise faults.pop()
        return decode(codec, record, data)

    monkeypatch.setattr(Codec, "decode", failing)
    monkeypatch.setattr(lane, "_PAUSE", 0.01)
    writer.opt_out(key_of(1))
    assert keys(await take(access, 1)) == [str(key_of(1))]
    assert not faults


async def test_too_many_unconfirmed_changes_are_an_error(
    access: KafkaAccess, writer: TopicWriter, monkeypatch: pytest.MonkeyPatch
):
    """A forgotten `done` would fill the memory, and everything would come again one day."""
    monkeypatch.setattr(lane, "_MOST_UNCONFIRMED", 5)
    writer.opt_out(*(key_of(one) for one in range(200)))
    with pytest.raises(UnconfirmedChangesError, match=r"await change\.done\(\)"):
        await take(access, 200, confirm=False)
    assert len(await take(access, 200)) == 200


async def test_lost_checkpoint_is_an_error(
    settings: KafkaSettings, access: KafkaAccess, writer: TopicWriter
):
    """What was deleted unread may have been opt-outs: nobody goes on as if nothing were."""
    topic = writer.topics.opt_outs.name
    writer.opt_out(key_of(1))
    (change,) = await take(access, 1)
    writer.opt_out(key_of(1), key_of(1))
    place = change.position
    remove_below(settings, topic, {place.partition: place.offset + 2})
    with pytest.raises(CheckpointLostError, match="subscribe under another name"):
        await take(access, 1)


async def test_kafka_out_of_reach_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch):
    """At the first change; not before, and not never."""
    for module in (lane, follower):
        monkeypatch.setattr(module, "_TIMEOUT", 1.0)
    changes = subscribe("sms", access=KafkaAccess(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1.*KAFKA_BOOTSTRAP_SERVERS"):
        await anext(changes)


async def test_missing_topic_is_an_error_with_a_remedy(kafka: str):
    """A wrong prefix must not look like silence."""
    access = KafkaAccess(bootstrap_servers=kafka, topic_prefix="nowhere-")
    with pytest.raises(BrokerError, match=r"nowhere-\S+ does not exist"):
        await anext(subscribe("sms", access=access))


async def test_wrong_arguments_are_refused_at_once():
    """Before anything is connected to."""
    access = KafkaAccess(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(NaiveInstantError, match="since"):
        subscribe("sms", since=datetime(2026, 3, 2), access=access)  # noqa: DTZ001  # a naive one
    with pytest.raises(ValueError, match="at least one kind"):
        subscribe("sms", [], access=access)


BOTH = (ChangeKind.OPT_OUTS, ChangeKind.PERMISSIONS)
PERMISSIONS = (ChangeKind.PERMISSIONS,)
LATER = NOON + timedelta(minutes=1)


def answers(changes: list[Change]) -> list[tuple[str, bool, str]]:
    """Return key, answer and reason of each permission."""
    return [
        (str(one.key), one.may_send, str(one.reason))
        for one in changes
        if isinstance(one, PermissionChanged)
    ]


async def test_permission_behind_a_newer_opt_out_denies(access: KafkaAccess, writer: TopicWriter):
    """The ledger published it before it knew; one by a newer consent, or without an opt-out, stays.

    The same second is not newer.
    """
    closed, same, opened, other = (key_of(one) for one in range(4))
    writer.permit(closed, at=NOON)
    writer.permit(same, opened, at=LATER)
    writer.permit(other, at=NOON)
    writer.opt_out(closed, same, at=LATER)
    writer.opt_out(opened, at=NOON)
    assert sorted(answers(await take(access, 7, BOTH))) == [
        (str(closed), False, "opted-out"),
        (str(same), False, "opted-out"),
        (str(opened), True, "registered"),
        (str(other), True, "registered"),
    ]


async def test_confirmed_opt_out_still_denies(access: KafkaAccess, writer: TopicWriter):
    """It is not delivered again after the restart, and the late permission denies all the same;
    so it does for who asks for permissions alone.
    """
    key = key_of(1)
    writer.opt_out(key, at=LATER)
    await take(access, 1, OPT_OUTS)
    writer.permit(key, at=NOON)
    denied = [(str(key), False, "opted-out")]
    assert answers(await take(access, 1, BOTH)) == denied
    assert answers(await take(access, 1, PERMISSIONS, subscriber="crm")) == denied


@pytest.mark.parametrize("kinds", [BOTH, PERMISSIONS])
async def test_permission_waits_until_opt_outs_are_known(
    access: KafkaAccess,
    writer: TopicWriter,
    monkeypatch: pytest.MonkeyPatch,
    kinds: tuple[ChangeKind, ...],
):
    """It is looked at again and again, and comes as soon as they are."""
    looks = iter([False] * 5)
    monkeypatch.setattr(OptOutGuard, "_is_fresh", lambda _: next(looks, True))
    writer.permit(key_of(1))
    assert answers(await take(access, 1, kinds)) == [(str(key_of(1)), True, "registered")]
    assert next(looks, None) is None


async def test_unreadable_opt_out_denies(access: KafkaAccess, writer: TopicWriter):
    """An opt-out may be in it: only a consent after now opens the key."""
    key = key_of(1)
    writer.raw(writer.topics.opt_outs, key.encode(), b"{}")
    writer.permit(key, at=LATER)
    found = await take(access, 2, BOTH)
    assert isinstance(found[0], UnreadableRecord)
    assert answers(found) == [(str(key), False, "opted-out")]
