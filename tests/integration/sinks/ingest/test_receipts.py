"""Receipts of the gate, from a real broker into the history: each once, whatever happens.

How far decisions are ingested is published: behind what they changed, and never too far.
Missing events, from both lanes into the ledger, and to people.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import pytest
from structlog.typing import EventDict

from izin.kafka.clients import ensure_topics
from izin.ledger import offsets, reads, sequences
from izin.ledger.db import Ledger
from izin.ledger.history import receipt_key, verify
from izin.ledger.record import ConcurrentChangeError, StreamUnavailableError, TopicMessages
from izin.ledger.sequences import GRACE
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.sinks.ingest.ingested_topics import IngestContext, ReceiptReader, TrackedLane
from tests.integration.sinks.sink_harness import (
    TOPIC,
    Clock,
    Killed,
    SinkHarness,
    a_phone,
    given_at,
    minutes_ago,
)
from tests.support.builders import PHONE, a_key, an_event
from tests.support.hostile.inputs import HostileRecords
from tests.support.published import (
    a_decision_receipt,
    a_receipt,
    delete_topics,
    produce,
    publish_receipts,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]
CODEC = Codec()
KEY = str(a_key(recipient=PHONE))
WAIT = timedelta(seconds=0.2)
ROWS = "SELECT topic FROM outbox ORDER BY id"


@pytest.fixture
def ingest(ledger: Ledger, kafka_settings: KafkaSettings) -> IngestContext:
    """Give what reads this test's receipts."""
    return IngestContext(
        ledger=ledger,
        topic_messages=TopicMessages(CODEC, kafka_settings.topics),
        codec=CODEC,
        settings=kafka_settings,
        clock=Clock(),
    )


async def open_receipts(ingest: IngestContext) -> ReceiptReader:
    """Return a reader of the receipts at the ledger's offsets."""
    return await ReceiptReader.open(ingest, ingest.settings.topics.gate_receipts.name)


async def read_to_end(ingest: IngestContext, records: int) -> None:
    """Read both partitions to their ends, after so many records."""
    reader = await open_receipts(ingest)
    await step_to_end(reader, records)
    await reader.close()


async def step_to_end(reader: ReceiptReader | TrackedLane, records: int) -> None:
    """Step until so many records came and both partitions are at their ends."""
    seen = 0
    async with asyncio.timeout(20):
        while seen < records or reader.topic.at_end != {0, 1}:
            seen += await reader.step(WAIT)
    assert seen == records


async def recorded(ledger: Ledger) -> list[dict[str, Any]]:
    """Return the entries of receipts, by source."""
    return [
        dict(row)
        for row in await ledger.fetch(
            "SELECT key, customer_id, source, data, occurred_at FROM history"
            " WHERE kind = 'receipt' ORDER BY source"
        )
    ]


@pytest.mark.broker
async def test_receipts_are_taken_once_with_their_answers(
    ledger: Ledger, kafka_settings: KafkaSettings, ingest: IngestContext
):
    """A list is found by its id; the answer for a recipient is in its history."""
    asked = [a_decision_receipt(2, index=place, recipient=a_phone(place)) for place in (2, 3, 4)]
    publish_receipts(kafka_settings, [a_receipt(1), *asked, a_decision_receipt(3)])
    await read_to_end(ingest, 5)
    (one,) = await reads.facts(ledger, [receipt_key(a_receipt(1)["receipt_id"])])
    assert (one.data["campaign"], one.data["recipients"]) == ("spring", 2)
    (own,) = await reads.facts(ledger, [KEY])
    assert (own.data["may_send"], own.data["reason"]) == (True, "exempt")
    assert (own.data["receipt_id"], own.data["basis"]) == (
        a_receipt(3)["receipt_id"],
        "order 17",
    )
    assert len(await recorded(ledger)) == 1 + (1 + 3) + (1 + 1)
    assert not (await verify.verify(ledger, [])).faults


@pytest.mark.broker
async def test_replayed_topic_changes_nothing(
    ledger: Ledger, kafka_settings: KafkaSettings, ingest: IngestContext
):
    """A rewind finds every source in the history, and a new receipt is still taken; so does a topic
    that was created again, which stops no worker.
    """
    publish_receipts(kafka_settings, [a_receipt(1), a_decision_receipt(2)])
    await read_to_end(ingest, 2)
    before = await recorded(ledger)
    await ledger.fetch("UPDATE kafka_offsets SET next_offset = 0 RETURNING topic")
    publish_receipts(kafka_settings, [a_receipt(3)])
    await read_to_end(ingest, 3)
    assert len(await recorded(ledger)) == len(before) + 1
    assert (await recorded(ledger))[: len(before)] == before
    await ledger.fetch("UPDATE kafka_offsets SET topic_id = 'the former' RETURNING topic")
    publish_receipts(kafka_settings, [a_receipt(4)])
    await read_to_end(ingest, 4)
    assert len(await recorded(ledger)) == len(before) + 2


@pytest.mark.broker
async def test_crash_between_write_and_offset_leaves_neither(
    ledger: Ledger,
    kafka_settings: KafkaSettings,
    ingest: IngestContext,
    monkeypatch: pytest.MonkeyPatch,
):
    """Both are of one transaction; and of two readers only one moves the offset."""
    publish_receipts(kafka_settings, [a_receipt(1)], partition=0)
    first, second = await open_receipts(ingest), await open_receipts(ingest)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(
                "izin.sinks.ingest.ingested_topics._append", AsyncMock(side_effect=Killed)
            )
            with pytest.raises(Killed):
                await step_to_end(first, 1)
        assert await recorded(ledger) == []
        await step_to_end(second, 1)
        assert len(await recorded(ledger)) == 1
        publish_receipts(kafka_settings, [a_receipt(2)], partition=0)
        with pytest.raises(ConcurrentChangeError):
            await step_to_end(first, 1)
    finally:
        await first.close()
        await second.close()


@pytest.mark.broker
async def test_bad_receipt_goes_to_dead_letters_and_others_go_on(
    ledger: Ledger, kafka_settings: KafkaSettings, ingest: IngestContext
):
    """One that nobody can read, one that PostgreSQL refuses, one that names no key."""
    bad: list[dict[str, Any] | bytes] = [
        b"junk",
        a_receipt(2) | {"receipt_id": "a\0b"},
        a_decision_receipt(3, type="SMS"),
    ]
    good = [a_receipt(number) for number in range(10, 20)]
    publish_receipts(kafka_settings, [*good[:5], *bad, *good[5:]], partition=0)
    await read_to_end(ingest, 13)
    assert {one["source"] for one in await recorded(ledger)} == {
        receipt_key(one["receipt_id"]) for one in good
    }
    rows = await ledger.fetch("SELECT value FROM outbox ORDER BY id")
    letters = [CODEC.decode("DeadLetter", row["value"]) for row in rows]
    assert [(one["offset"], one["violations"][0]["code"]) for one in letters] == [
        (5, "IZIN-UNREADABLE-RECEIPT"),
        (6, "IZIN-REFUSED-RECEIPT"),
        (7, "IZIN-REFUSED-RECEIPT"),
    ]
    assert await ledger.fetch(
        "SELECT next_offset FROM kafka_offsets WHERE partition = 0 AND topic LIKE '%%gate-receipts'"
    ) == [{"next_offset": 13}]


async def announced(harness: SinkHarness) -> list[list[int]]:
    """Return the offsets that were announced, in order."""
    found = await harness.outbox("%ledger-positions", "LedgerPositions")
    assert {one["decisions_topic_id"] for one in found} <= {"topic"}
    assert {one["cluster_id"] for one in found} <= {"cluster"}
    return [one["decisions_offsets"] for one in found]


async def test_each_transaction_announces_its_offsets_last(harness: SinkHarness):
    """One message for a whole batch, of new rows in bulk or of others, behind its permissions."""
    await harness.brand()
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    await harness.ingest_for(lambda one: given_at(minutes_ago(3), recipient=one), range(30))
    await harness.ingest(given_at(minutes_ago(1), recipient=a_phone(5)))
    assert await announced(harness) == [[30], [31]]
    topics = [row["topic"] for row in await harness.ledger.fetch(ROWS)]
    ends = [place for place, one in enumerate(topics) if one.endswith("ledger-positions")]
    assert "permissions" in topics[ends[0] - 1]
    assert ends[-1] == len(topics) - 1


async def test_offsets_of_a_batch_that_failed_are_not_announced(harness: SinkHarness):
    """What a transaction that failed would have moved is announced by nobody."""
    await harness.brand()
    ingester = harness.ingester
    await offsets.positions(harness.ledger, TOPIC, [0, 2], cluster_id="cluster", topic_id="topic")
    await ingester.store(TOPIC, "topic", [], {0: (0, 3)})
    with pytest.raises(ConcurrentChangeError):
        await ingester.store(TOPIC, "topic", [], {0: (0, 900)})
    await ingester.store(TOPIC, "topic", [], {2: (0, 7)})
    await ingester.store(TOPIC, "topic", [], {0: (3, 4)})
    assert await announced(harness) == [[3, 0, 0], [3, 0, 7], [4, 0, 7]]


async def test_opt_outs_stored_ahead_announce_nothing(harness: SinkHarness):
    """They move no offset: what lies before them is not ingested."""
    await harness.brand()
    await harness.ingester.store(TOPIC, "topic", harness.decided(given_at(minutes_ago(3))), {})
    assert await announced(harness) == []


OpenLane = Callable[[str], Awaitable[TrackedLane]]


def publish(settings: KafkaSettings, topic: str, *numbers: int, partition: int = 0) -> None:
    """Publish an event of each number, of one origin."""
    events = [an_event(event_id=f"event-{one}", origin="crm", sequence=one) for one in numbers]
    values = [CODEC.encode("ConsentEvent", event_to_avro(one)) for one in events]
    produce(settings, topic, *values, partition=partition)


@pytest.fixture
def open_lane(ingest: IngestContext) -> OpenLane:
    """Give what opens a lane, on a clock that is ahead of every grace period."""
    return partial(TrackedLane.open, replace(ingest, clock=lambda: datetime.now(UTC) + 2 * GRACE))


async def lane_at_end(opening: Awaitable[TrackedLane], records: int) -> TrackedLane:
    """Return the lane, read to its end, after so many records."""
    lane = await opening
    await step_to_end(lane, records)
    return lane


async def until_read(lane: TrackedLane) -> None:
    """Step until a record came."""
    async with asyncio.timeout(20):
        while not await lane.step(WAIT):
            pass


async def tracked(ledger: Ledger) -> tuple[int, int]:
    """Return the first and the last number of the one origin."""
    (row,) = await ledger.fetch("SELECT * FROM sequences WHERE origin = 'crm'")
    return row["first_number"], row["last_number"]


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
    await (await lane_at_end(open_lane(bulk), 6)).close()
    assert await sequences.missing(ledger, topics) == ()  # the other lane may hold it
    await (await lane_at_end(open_lane(express), 1)).close()
    (one,) = await sequences.missing(ledger, topics)
    assert (one.customer_id, one.origin) == ("acme", "crm")
    assert (one.gaps, one.numbers, one.first_number, one.given_up) == (1, 2, 5, 0)
    assert datetime.now(UTC) - timedelta(minutes=2) < one.since < datetime.now(UTC)
    assert await sequences.missing(ledger, topics, grace=3 * GRACE) == ()

    await ledger.fetch("UPDATE kafka_offsets SET next_offset = 0 RETURNING topic")
    await (await lane_at_end(open_lane(bulk), 6)).close()
    assert await sequences.missing(ledger, topics) == (one,)

    publish(kafka_settings, express, 5, partition=1)
    lane = await lane_at_end(open_lane(express), 2)
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
        await (await lane_at_end(open_lane(topic), records)).close()
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
    produce(kafka_settings, topic, *values, partition=0)
    publish(kafka_settings, topic, 1, 2, 4)
    await (await lane_at_end(open_lane(topic), len(values) + 3)).close()
    assert await tracked(ledger) == (1, 4)


async def test_lane_recreated_under_its_tracker_is_tracked_again(
    ledger: Ledger, kafka_settings: KafkaSettings, open_lane: OpenLane, logged: list[EventDict]
):
    """Its records have offsets that were passed: they are not taken for known ones. Nobody has to
    correct the ledger by hand.
    """
    topic = kafka_settings.topics.events.name
    publish(kafka_settings, topic, 1, 2)
    lane = await lane_at_end(open_lane(topic), 2)
    await asyncio.to_thread(delete_topics, kafka_settings, topic)
    await asyncio.to_thread(ensure_topics, kafka_settings)
    publish(kafka_settings, topic, 3)
    with pytest.raises(StreamUnavailableError, match="created again"):
        await until_read(lane)
    await lane.close()
    await (await lane_at_end(open_lane(topic), 1)).close()
    assert ("topic recreated", topic) in [(one["event"], one.get("topic")) for one in logged]
    assert await tracked(ledger) == (1, 3)
