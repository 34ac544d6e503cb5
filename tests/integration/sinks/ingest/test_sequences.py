"""Missing events, from both lanes on a real broker into the ledger, and to people."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from structlog.typing import EventDict

from izin.ledger import sequences
from izin.ledger.db import Ledger
from izin.ledger.record import ConcurrentChangeError, StreamUnavailableError, TopicMessages
from izin.ledger.sequences import GRACE
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.sinks.ingest.ingested_topics import TrackedLane
from izin.sinks.ingest.topic_reader import IngestContext
from tests.support.builders import an_event
from tests.support.hostile.inputs import HostileRecords
from tests.support.published import delete_topics

pytestmark = [pytest.mark.database, pytest.mark.broker]

CODEC = Codec()

OpenLane = Callable[[str], Awaitable[TrackedLane]]


def publish(settings: KafkaSettings, topic: str, *numbers: int, partition: int = 0) -> None:
    """Publish an event of each number, of one origin."""
    producer = kafka.producer(settings)
    for number in numbers:
        event = an_event(event_id=f"event-{number}", origin="crm", sequence=number)
        producer.produce(
            topic, CODEC.encode("ConsentEvent", event_to_avro(event)), partition=partition
        )
    assert producer.flush(20) == 0


@pytest.fixture
def open_lane(ledger: Ledger, kafka_settings: KafkaSettings) -> OpenLane:
    """Give what opens a lane, on a clock that is ahead of every grace period."""
    context = IngestContext(
        ledger=ledger,
        topic_messages=TopicMessages(CODEC, kafka_settings.topics),
        codec=CODEC,
        settings=kafka_settings,
        clock=lambda: datetime.now(UTC) + 2 * GRACE,
    )
    return partial(TrackedLane.open, context)


async def read_to_end(opening: Awaitable[TrackedLane], records: int) -> TrackedLane:
    """Return the lane, read to its end, after so many records."""
    lane = await opening
    seen = 0
    async with asyncio.timeout(20):
        while seen < records or lane.topic.at_end != {0, 1}:
            seen += await lane.step(timedelta(seconds=0.2))
    assert seen == records
    return lane


async def until_read(lane: TrackedLane) -> None:
    """Step until a record came."""
    async with asyncio.timeout(20):
        while not await lane.step(timedelta(seconds=0.2)):
            pass


async def test_missing_numbers_are_listed_until_they_arrive(
    ledger: Ledger, kafka_settings: KafkaSettings, open_lane: OpenLane
):
    """Numbers of one origin on two lanes and partitions: a replay changes nothing, and a late
    number closes its gap.
    """
    topics = kafka_settings.topics
    bulk, express = topics.events.name, topics.express.name
    publish(kafka_settings, bulk, 1, 2, 7, 4)
    publish(kafka_settings, bulk, 8, 4, partition=1)
    publish(kafka_settings, express, 3)
    await (await read_to_end(open_lane(bulk), 6)).close()
    assert await sequences.missing(ledger, topics) == ()  # the other lane may hold it
    await (await read_to_end(open_lane(express), 1)).close()
    (one,) = await sequences.missing(ledger, topics)
    assert (one.customer_id, one.origin) == ("acme", "crm")
    assert (one.gaps, one.numbers, one.first_number, one.given_up) == (1, 2, 5, 0)
    assert datetime.now(UTC) - timedelta(minutes=2) < one.since < datetime.now(UTC)
    assert await sequences.missing(ledger, topics, grace=3 * GRACE) == ()

    await ledger.fetch("UPDATE kafka_offsets SET next_offset = 0 RETURNING topic")
    await (await read_to_end(open_lane(bulk), 6)).close()
    assert await sequences.missing(ledger, topics) == (one,)

    publish(kafka_settings, express, 5, partition=1)
    lane = await read_to_end(open_lane(express), 2)
    (left,) = await sequences.missing(ledger, topics)
    assert left == replace(one, numbers=1, first_number=6)
    assert await close(ledger, "web", until=9) == 0
    assert await close(ledger, "crm", until=5) == 0
    assert await close(ledger, "crm", until=9, dry=True) == 1
    publish(kafka_settings, express, 6)
    await until_read(lane)
    await lane.close()
    assert await sequences.missing(ledger, topics) == ()


async def close(ledger: Ledger, origin: str, *, until: int, dry: bool = False) -> int:
    """Close numbers of an origin of acme."""
    now = datetime.now(UTC)
    return await sequences.close(ledger, "acme", origin, until=until, by="ada", now=now, dry=dry)


async def test_close_gives_up_missing_numbers_up_to_the_given_one(
    ledger: Ledger, kafka_settings: KafkaSettings, open_lane: OpenLane
):
    """A person may state that numbers were never assigned."""
    topics = kafka_settings.topics
    publish(kafka_settings, topics.events.name, 1, 10)
    for topic, records in ((topics.events.name, 2), (topics.express.name, 0)):
        await (await read_to_end(open_lane(topic), records)).close()
    assert await close(ledger, "crm", until=6) == 5
    (one,) = await sequences.missing(ledger, topics)
    assert (one.first_number, one.numbers) == (7, 3)


async def test_second_tracker_of_a_lane_is_refused(
    kafka_settings: KafkaSettings, open_lane: OpenLane
):
    """Offsets are updated by compare-and-set, so that a second reader changes nothing."""
    topic = kafka_settings.topics.events.name
    publish(kafka_settings, topic, 1)
    first, second = [await open_lane(topic) for _ in range(2)]
    await until_read(first)
    with pytest.raises(ConcurrentChangeError):
        await until_read(second)
    await first.close()
    await second.close()


async def test_hostile_events_stop_no_tracking(
    ledger: Ledger, kafka_settings: KafkaSettings, open_lane: OpenLane
):
    """What the ledger cannot take is passed over, alone: the numbers beside it are tracked."""
    topic = kafka_settings.topics.events.name
    hostile = HostileRecords(
        CODEC,
        "ConsentEvent",
        lambda number: event_to_avro(an_event(event_id=f"{number}", origin="x", sequence=number)),
        seed=15,
    )
    giant = an_event(customer_id=secrets.token_hex(4000), sequence=1)
    values = [*hostile.values(1000), CODEC.encode("ConsentEvent", event_to_avro(giant))]
    producer = kafka.producer(kafka_settings)
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0
    publish(kafka_settings, topic, 1, 2, 4)
    await (await read_to_end(open_lane(topic), len(values) + 3)).close()
    rows = await ledger.fetch(
        "SELECT first_number, last_number FROM sequences WHERE origin = 'crm'"
    )
    assert rows == [{"first_number": 1, "last_number": 4}]


async def test_recreated_lane_is_tracked_from_its_beginning(
    ledger: Ledger,
    kafka_settings: KafkaSettings,
    open_lane: OpenLane,
    logged: list[EventDict],
):
    """Nobody has to correct the ledger by hand: a number that came before is there once."""
    topic = kafka_settings.topics.events.name
    publish(kafka_settings, topic, 1, 2)
    await (await read_to_end(open_lane(topic), 2)).close()
    await ledger.fetch("UPDATE kafka_offsets SET topic_id = 'former' RETURNING topic")
    publish(kafka_settings, topic, 3)
    await (await read_to_end(open_lane(topic), 3)).close()
    assert [(one["event"], one["topic"]) for one in logged] == [("topic recreated", topic)]
    rows = await ledger.fetch("SELECT first_number, last_number FROM sequences")
    assert rows == [{"first_number": 1, "last_number": 3}]


async def test_lane_recreated_under_its_tracker_is_tracked_again(
    ledger: Ledger, kafka_settings: KafkaSettings, open_lane: OpenLane
):
    """Its records have offsets that were passed: they are not taken for known ones."""
    topic = kafka_settings.topics.events.name
    publish(kafka_settings, topic, 1, 2)
    lane = await read_to_end(open_lane(topic), 2)
    await asyncio.to_thread(delete_topics, kafka_settings, topic)
    await asyncio.to_thread(ensure_topics, kafka_settings)
    publish(kafka_settings, topic, 3)
    with pytest.raises(StreamUnavailableError, match="created again"):
        await until_read(lane)
    await lane.close()
    await (await read_to_end(open_lane(topic), 1)).close()
    rows = await ledger.fetch("SELECT first_number, last_number FROM sequences")
    assert rows == [{"first_number": 1, "last_number": 3}]
