"""Both lanes on a real broker: what nobody decides, and what a transaction holds back."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from structlog.typing import EventDict

from izin.runtime import kafka, topic_admin
from izin.runtime.process import cancel_all
from izin.runtime.settings import KafkaSettings
from izin.streams.engine.lane_watch import HELD_AFTER, LaneWatch
from izin.streams.ownership.effects import Effects
from izin.streams.ownership.positions import DecidedOffsets
from tests.support.order.harness import CODEC, OrderHarness

pytestmark = pytest.mark.broker

SECONDS = [0.0]


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
    client = kafka.producer(settings)
    for one in partitions:
        client.produce(topic, b"any", b"any", partition=one)
    assert client.flush(20) == 0


@pytest.fixture
def foreign(settings: KafkaSettings) -> Producer:
    """Give another program's producer, with a transaction open on the express lane."""
    client = kafka.producer(settings, **{"transactional.id": f"{settings.topic_prefix}foreign"})
    client.init_transactions(20)
    client.begin_transaction()
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
    owner = harness.owner()
    await owner.acquire()
    await harness.commit(owner, Effects(), next_offset=3)
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
    assert topic_admin.transaction_limit(settings) == topic_admin.TRANSACTION_LIMIT
    long = {"transactional.id": "long", "transaction.timeout.ms": 60_000}
    with pytest.raises(KafkaException) as refused:
        kafka.producer(settings, **long).init_transactions(20)
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
