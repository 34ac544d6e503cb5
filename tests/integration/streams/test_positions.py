"""Where a partition is resumed, against a real broker."""

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic
from structlog.typing import EventDict

from izin.kafka.bounded_reader import BoundedReader
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.streams.errors import PositionAheadError
from izin.streams.ownership.effects import Effects
from izin.streams.ownership.positions import DecidedOffsets, latest_positions
from tests.support.order.harness import ONAY, OrderHarness
from tests.support.order.workers import until

pytestmark = pytest.mark.broker


def recreate(harness: OrderHarness, name: str) -> None:
    """Delete the topic and create one of its name."""
    admin = kafka.admin(harness.settings)
    admin.delete_topics([name])[name].result(10)
    until(lambda: name not in admin.list_topics(timeout=10).topics, within=10, what="deletion")
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)


async def decided_to(harness: OrderHarness, offset: int) -> None:
    """Decide the bulk lane up to `offset`, with a row, as another worker."""
    owner = harness.owner()
    await owner.acquire()
    await harness.commit(owner, harness.effects(ONAY), next_offset=offset)


async def test_lost_positions_topic_loses_no_event(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """What is still in the lanes is decided again; a person is called."""
    await decided_to(harness, 4)
    recreate(harness, harness.settings.topics.positions.name)
    owner = harness.owner()
    await owner.acquire()
    assert owner.next_offsets == {harness.events: 0, harness.express: 0}
    assert [(one["event"], one["log_level"]) for one in logged] == [
        ("positions not found", "critical")
    ] * 2


async def test_recreated_lane_is_decided_from_its_beginning(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """Its offsets begin anew: those below the old position were never decided."""
    await decided_to(harness, 4)
    recreate(harness, harness.events)
    harness.publish(10)
    owner = harness.owner()
    await owner.acquire()
    assert owner.next_offsets == {harness.events: 0, harness.express: 0}
    (log,) = logged
    assert (log["event"], log["topic"]) == ("topic recreated", harness.events)
    await harness.commit(owner, Effects(), next_offset=3)
    successor = harness.owner()
    await successor.acquire()
    assert successor.next_offsets[harness.events] == 3
    assert len(logged) == 1


async def test_recreated_state_topic_is_filled_again(
    harness: OrderHarness, logged: list[EventDict]
) -> None:
    """Without its rows what was decided is lost, so that both lanes are decided again."""
    await decided_to(harness, 4)
    recreate(harness, harness.rows_topic)
    owner = harness.owner()
    await owner.acquire()
    assert (owner.next_offsets, len(owner.state)) == ({harness.events: 0, harness.express: 0}, 0)
    assert {one["event"] for one in logged} == {"topic recreated"}


async def test_lane_that_ends_before_its_position_is_not_decided(harness: OrderHarness) -> None:
    """A broker that lags, or lost records: to begin anywhere would skip what comes next."""
    await decided_to(harness, 11)
    with pytest.raises(PositionAheadError, match="ends at offset 10, and is decided up to 11"):
        await harness.owner().acquire()
    harness.publish(1)
    owner = harness.owner()
    await owner.acquire()
    assert owner.next_offsets[harness.events] == 11


@pytest.mark.parametrize("marks", [0, 40])
async def test_latest_positions_are_found_from_the_end(harness: OrderHarness, marks: int) -> None:
    """However many acquisitions came to nothing since, and whatever was deleted before."""
    owner = harness.owner()
    await owner.acquire()
    for offset in range(1, 6):
        await harness.commit(owner, Effects(), next_offset=offset)
    producer = kafka.producer(harness.settings, **{"transactional.id": "another"})
    producer.init_transactions(20)
    topic = harness.settings.topics.positions.name
    for _ in range(marks):
        producer.begin_transaction()
        producer.produce(topic, key=b"mark", partition=0)
        producer.flush(20)
        producer.abort_transaction(20)
    harness.delete_below(topic, 4)
    end = kafka.committed_ends(harness.settings, topic)[0]
    reader = BoundedReader(harness.settings, "reader", topic)
    try:
        found = latest_positions(reader, harness.codec, {0: end})
        assert found[0].events_offset == 5
        assert latest_positions(reader, harness.codec, {0: 0}) == {}
    finally:
        reader.close()


async def test_decided_offsets_are_those_of_every_partition(
    harness: OrderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools see what workers stored, as soon as it is committed; a tool that polls opens one client
    in all.
    """
    opened, make = [], kafka.consumer

    def counted(settings: KafkaSettings, group: str, **overrides: object) -> Consumer:
        opened.append(group)
        return make(settings, group, **overrides)

    monkeypatch.setattr(kafka, "consumer", counted)
    decided = DecidedOffsets(harness.settings, harness.codec)
    try:
        assert decided.read() == {}
        await decided_to(harness, 4)
        assert decided.read() == {(harness.events, 0): 4, (harness.express, 0): 0}
        await decided_to(harness, 6)
        assert decided.read()[harness.events, 0] == 6
        assert opened.count("izin-ends") == 0
    finally:
        decided.close()


async def test_former_leader_is_waited_for(
    harness: OrderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that lags behind returns an end of the past; the partition waits for the other."""
    await decided_to(harness, 10)
    owner = harness.owner()
    real = owner._clients.bounds
    past = {harness.events: (0, 7), harness.express: (0, 0)}
    monkeypatch.setattr(owner._clients, "bounds", lambda _: past)
    with pytest.raises(PositionAheadError):
        await owner.acquire()
    monkeypatch.setattr(owner._clients, "bounds", real)
    await owner.acquire()
    lane = TopicPartition(harness.events, 0)
    assert owner.next_offsets[harness.events] == real([lane])[harness.events][1] == 10
