"""A stored state and its position in ``desired-consents``, against a real broker.

Both lanes on a real broker: what nobody decides, and what a transaction holds back.

An erasure is committed with its suppression, and both are read back, against a real broker.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from structlog.typing import EventDict

from izin.kafka import clients
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings
from izin.streams.engine.watches import HELD_AFTER, LaneWatch
from izin.streams.ownership import Changelog, DecidedOffsets, Effects
from izin.streams.state.rocks import RocksFolder
from izin.streams.state.state import MemoryState, PartitionState
from tests.support.builders import an_event
from tests.support.order.harness import (
    CODEC,
    KEY,
    ONAY,
    RET,
    OrderHarness,
    a_record,
    an_onay,
    apply,
    consent_of,
)
from tests.support.published import produce, transaction
from tests.unit.streams.test_erasure import SUPPRESSION, an_erasure

pytestmark = pytest.mark.broker
HOUR_MS = 60 * 60 * 1000
SECONDS = [0.0]


@pytest.fixture(params=["memory", "rocksdb"])
def make_state(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], PartitionState]]:
    """Yield a maker of the worker's state: on disk, the same folder each time."""
    made: list[PartitionState] = []

    def make() -> PartitionState:
        for one in made:
            one.close()
        state = MemoryState() if request.param == "memory" else RocksFolder(tmp_path).state(0)
        made.append(state)
        return state

    yield make
    made[-1].close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the offsets of the rows that are read back from now on."""
    offsets: list[int] = []
    monkeypatch.setattr(
        Changelog,
        "_row",
        lambda self, value, offset, row=Changelog._row: (
            offsets.append(offset) or row(self, value, offset)
        ),
    )
    return offsets


async def test_commit_moves_the_position_behind_its_rows(
    harness: OrderHarness, make_state: Callable[[], PartitionState], read: list[int]
) -> None:
    """What a worker wrote itself it does not read again, batch after batch."""
    owner = await harness.acquired(make_state())
    begun = owner.state.position
    await harness.commit(owner, harness.effects(ONAY, an_onay(2)), next_offset=2)
    assert owner.state.position == begun + 2
    await harness.commit(owner, harness.effects(), next_offset=3)
    await harness.commit(owner, harness.effects(RET), next_offset=4)
    assert owner.state.position == begun + 4
    await owner.acquire()
    await harness.commit(owner, harness.effects(an_onay(3)), next_offset=5)
    assert (read, len(owner.state)) == ([], 3)


async def test_state_that_may_lack_tombstones_is_read_anew(
    harness: OrderHarness, make_state: Callable[[], PartitionState], read: list[int]
) -> None:
    """One that was caught up as long ago as tombstones are kept, less a day, by the broker's
    clock, may have a key that was erased since: its tombstone may be gone.
    """
    owner = await harness.acquired(make_state())
    await harness.commit(owner, harness.effects(ONAY, an_onay(2)), next_offset=2)
    state, caught_up_at = owner.state, owner.state.caught_up_at
    assert abs(caught_up_at - time.time() * 1000) < HOUR_MS
    erased = {an_onay(3).key.encode(): an_onay(3)}
    for days, is_kept in ((5, True), (7, False)):
        state.caught_up_at = caught_up_at - days * 24 * HOUR_MS
        apply(state, erased, state.position)
        state.close()
        owner = await harness.acquired(state)
        assert (consent_of(state, *erased) is not None) is is_kept
        assert abs(state.caught_up_at - caught_up_at) < HOUR_MS
    assert (len(read), len(state)) == (2, 2)


async def test_kept_state_reads_back_only_other_owners_rows(
    harness: OrderHarness, make_state: Callable[[], PartitionState], read: list[int]
) -> None:
    """Coming back, an owner reads what others wrote meanwhile, and not what it had."""
    owner = await harness.acquired(make_state())
    await harness.commit(owner, harness.effects(ONAY), next_offset=1)
    other = await harness.acquired()
    await harness.commit(other, harness.effects(an_onay(2)), next_offset=2)
    row = other.state.position - 1
    read.clear()
    await owner.acquire()
    assert (read, consent_of(owner.state, KEY), len(owner.state)) == ([row], ONAY, 2)


async def test_aborted_batch_leaves_no_hole(
    harness: OrderHarness, make_state: Callable[[], PartitionState], read: list[int]
) -> None:
    """Rows of a transaction that came to nothing are passed over once the partition is taken."""
    owner = await harness.acquired(make_state())
    await harness.write_open(owner, b"never")
    await owner.acquire()
    begun = owner.state.position
    assert len(owner.state) == 0
    await harness.commit(owner, harness.effects(ONAY), next_offset=1)
    assert (owner.state.position, read) == (begun + 1, [])


@pytest.mark.parametrize("early", [True, False])
async def test_key_erased_while_owned_is_forgotten(
    harness: OrderHarness,
    make_state: Callable[[], PartitionState],
    logged: list[EventDict],
    early: bool,
) -> None:
    """A tombstone among a worker's own rows is not passed over: the partition is taken again."""
    owner = await harness.acquired(make_state())
    if not early:
        await harness.commit(owner, harness.effects(ONAY), next_offset=1)
    harness.write_row(None)
    stood = owner.state.position
    await harness.commit(owner, harness.effects(an_onay(2), an_onay(3)), next_offset=3)
    assert (owner.state.position, owner.is_acquired) == (stood, False)
    assert [one["event"] for one in logged] == ["foreign row found in desired-consents"]
    await owner.acquire()
    assert (consent_of(owner.state, KEY), len(owner.state)) == (None, 2)
    await harness.commit(owner, harness.effects(RET), next_offset=4)
    assert owner.state.position == harness.end() - 1


OWNER = """
import asyncio, os, signal, sys
from pathlib import Path
from izin.runtime.settings import KafkaSettings
from izin.streams.state.rocks import RocksFolder, RocksState
from tests.support.order.harness import ONAY, RET, OrderHarness, an_onay

settings = KafkaSettings(bootstrap_servers=sys.argv[1], topic_prefix=sys.argv[2], partitions=1)
harness = OrderHarness(settings)
owner = harness.owner(RocksFolder(Path(sys.argv[3])).state(0))

async def main():
    await owner.acquire()
    await harness.commit(owner, harness.effects(ONAY, an_onay(2)), next_offset=2)
    RocksState.apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    await harness.commit(owner, harness.effects(RET, an_onay(3)), next_offset=4)


asyncio.run(main())
"""


async def test_kill_between_commit_and_state_loses_nothing(
    harness: OrderHarness, tmp_path: Path, read: list[int]
) -> None:
    """The position on disk is correct: rows committed after it are read back."""
    settings = harness.settings
    arguments = ("-c", OWNER, settings.bootstrap_servers, settings.topic_prefix, str(tmp_path))
    owner = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    assert await owner.wait() == -signal.SIGKILL
    state = RocksFolder(tmp_path).state(0)
    assert (await harness.acquired(state)).next_offsets[harness.events] == 4
    assert len(read) == 2
    assert (consent_of(state, KEY), len(state)) == (RET, 3)
    state.close()


async def test_recreated_topic_is_read_from_its_beginning(
    harness: OrderHarness, make_state: Callable[[], PartitionState]
) -> None:
    """A topic of the same name that is longer than the old one is still another topic."""
    state = make_state()
    owner = await harness.acquired(state)
    await harness.commit(owner, harness.effects(ONAY, an_onay(2)), next_offset=2)
    harness.recreate(harness.rows_topic)
    other = await harness.acquired()
    rows = [an_onay(number) for number in range(3, 8)]
    await harness.commit(other, harness.effects(*rows), next_offset=9)
    await harness.acquired(state)
    assert (consent_of(state, KEY), len(state)) == (None, len(rows))


@pytest.fixture
def settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    """Give topics of two partitions."""
    return make_settings(2)


@pytest.fixture
def look(settings: KafkaSettings) -> Iterator[Callable[[], LaneWatch]]:
    """Give what looks at the lanes once more."""
    SECONDS[0] = 100.0
    watch = LaneWatch(settings, CODEC, clock=lambda: SECONDS[0])
    with closing(DecidedOffsets(settings, CODEC)) as decided:

        def look() -> LaneWatch:
            watch.look(decided)
            watch.report({0, 1})
            return watch

        yield look


def publish(settings: KafkaSettings, topic: str, *partitions: int) -> None:
    """Publish a record to each of the partitions."""
    for one in partitions:
        produce(settings, topic, b"any", key=b"any", partition=one)


@pytest.fixture
def foreign(settings: KafkaSettings) -> Producer:
    """Give another program's producer, with a transaction open on the express lane."""
    client = transaction(settings, "foreign")
    client.produce(settings.topics.express.name, b"any", partition=1)
    assert client.flush(20) == 0
    return client


def test_lag_counts_partitions_that_nobody_decides(
    settings: KafkaSettings, look: Callable[[], LaneWatch]
) -> None:
    """No worker owns one, and none has a position."""
    express, bulk = settings.topics.express.name, settings.topics.events.name
    publish(settings, express, 0, 1, 1)
    assert (look().lag(express), look().lag(bulk)) == (3, 0)


async def test_lag_is_counted_from_positions(harness: OrderHarness) -> None:
    """What is decided, by whomever, is no lag."""
    await harness.commit(await harness.acquired(), Effects(), next_offset=3)
    watch = LaneWatch(harness.settings, CODEC)
    with closing(DecidedOffsets(harness.settings, CODEC)) as decided:
        watch.look(decided)
    records = watch.ends[harness.events, 0]
    assert watch.lag(harness.events) == records - 3 > 1
    ahead = LaneWatch(harness.settings, CODEC, next_offset=lambda *_: 4)
    with closing(DecidedOffsets(harness.settings, CODEC)) as decided:
        ahead.look(decided)
    assert ahead.lag(harness.events) == records - 4


@pytest.mark.usefixtures("foreign")
def test_open_transaction_on_a_lane_calls_a_person(
    settings: KafkaSettings, look: Callable[[], LaneWatch], logged: list[EventDict]
) -> None:
    """Once it has stood for five seconds, with the command that ends it; once only."""
    express = settings.topics.express.name
    publish(settings, express, 1)
    assert look().held({1}) == {}
    SECONDS[0] += HELD_AFTER
    for _ in range(2):
        assert look().held_for(express) == HELD_AFTER
    (alert,) = logged
    assert alert["partition"] == f"{express}[1]"
    assert (alert["event"], alert["log_level"]) == (
        "lane held back by an open transaction",
        "critical",
    )
    command = f"abort --topic {express} --partition 1 --start-offset 0"
    assert alert["remedy"].endswith(command)
    assert look().held({0}) == {}
    assert look().held({1})[f"{express}[1]"].endswith(command)
    assert look().lag(express) == 2


def test_ended_transactions_on_a_lane_call_nobody(
    settings: KafkaSettings,
    foreign: Producer,
    look: Callable[[], LaneWatch],
    logged: list[EventDict],
) -> None:
    """One after the other, each for a moment: however long that goes on."""
    for _ in range(3):
        look()
        SECONDS[0] += HELD_AFTER
        foreign.commit_transaction(20)
        foreign.begin_transaction()
        foreign.produce(settings.topics.express.name, b"any", partition=1)
        assert foreign.flush(20) == 0
    foreign.abort_transaction(20)
    assert look().held_for(settings.topics.express.name) == 0
    assert logged == []


def test_local_broker_refuses_long_transactions(settings: KafkaSettings) -> None:
    """Librdkafka's default is a minute, for which opt-outs of others would wait."""
    assert clients.transaction_limit(settings) == clients.TRANSACTION_LIMIT
    long = {"transactional.id": "long", "transaction.timeout.ms": 60_000}
    with pytest.raises(KafkaException) as refused:
        clients.producer(settings, **long).init_transactions(20)
    assert refused.value.args[0].code() == KafkaError.INVALID_TRANSACTION_TIMEOUT


async def test_record_that_is_no_position_ends_no_watch(
    settings: KafkaSettings, logged: list[EventDict]
) -> None:
    """It says so once, and looks again: what it watches must not end with it."""
    publish(settings, settings.topics.positions.name, 0)
    looks: list[int] = []

    def assigned() -> tuple[int, ...]:
        looks.append(1)
        return ()

    running = asyncio.create_task(LaneWatch(settings, CODEC).run(assigned))
    async with asyncio.timeout(30):
        while len(looks) < 2:  # noqa: ASYNC110  # of another thread
            await asyncio.sleep(0.05)
    assert not running.done()
    await cancel_all([running])
    assert [one["event"] for one in logged] == ["lanes not read"]


async def commit(harness: OrderHarness, owner: object, *events: object) -> None:
    """Fold events of the only partition, and commit what they amount to."""
    records = [a_record(one, key=KEY, offset=place) for place, one in enumerate(events)]
    effects = harness.stage.fold(0, records, owner.state)
    await harness.commit(owner, effects, next_offset=len(records))


@pytest.mark.parametrize("is_same", [True, False], ids=["same-state", "read-back"])
async def test_erasure_is_read_back(
    harness: OrderHarness, make_state: Callable[[], PartitionState], *, is_same: bool
) -> None:
    """By the same worker, and by one that has no state yet."""
    owner = await harness.acquired(make_state())
    await commit(harness, owner, an_event(status="RET"))
    await commit(harness, owner, an_erasure())
    state = (await harness.acquired(make_state() if is_same else MemoryState())).state
    assert state.packed(KEY) is None
    assert state.packed(SUPPRESSION) is not None
    assert state.suppresses
    effects = harness.stage.fold(0, [a_record(an_event(event_id="old"), key=KEY)], state)
    assert effects.counts == {"suppressed": 1}
