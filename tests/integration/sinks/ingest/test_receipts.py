"""Receipts of the gate, from a real broker into the history: each once, whatever happens.

How far decisions are ingested is published: behind what they changed, and never too far.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from izin.ledger import offsets, reads
from izin.ledger.db import Ledger
from izin.ledger.history import receipt_key, verify
from izin.ledger.record import ConcurrentChangeError, TopicMessages
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.ingested_topics import ReceiptReader
from izin.sinks.ingest.topic_reader import IngestContext
from tests.integration.sinks.sink_harness import (
    TOPIC,
    Clock,
    SinkHarness,
    a_phone,
    given_at,
    minutes_ago,
)
from tests.support.builders import PHONE, a_key
from tests.support.published import a_decision_receipt, a_receipt, publish_receipts

pytestmark = pytest.mark.database
KEY = str(a_key(recipient=PHONE))
WAIT = timedelta(seconds=0.2)
ROWS = "SELECT topic FROM outbox ORDER BY id"


@pytest.fixture
def ingest(ledger: Ledger, kafka_settings: KafkaSettings) -> IngestContext:
    """Give what reads this test's receipts."""
    return IngestContext(
        ledger=ledger,
        topic_messages=TopicMessages(Codec(), kafka_settings.topics),
        codec=Codec(),
        settings=kafka_settings,
        clock=Clock(),
    )


async def open_receipts(ingest: IngestContext) -> ReceiptReader:
    """Return a reader of the receipts at the ledger's offsets."""
    return await ReceiptReader.open(ingest, ingest.settings.topics.gate_receipts.name)


async def read_to_end(ingest: IngestContext, records: int) -> None:
    """Read both partitions to their ends, after so many records."""
    reader = await open_receipts(ingest)
    try:
        await step_to_end(reader, records)
    finally:
        await reader.close()


async def step_to_end(reader: ReceiptReader, records: int) -> None:
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

            async def die(*_: object, **__: object) -> None:
                raise OSError("the process died")

            patch.setattr("izin.sinks.ingest.ingested_topics._append", die)
            with pytest.raises(OSError, match="died"):
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
    letters = [
        Codec().decode("DeadLetter", row["value"])
        for row in await ledger.fetch("SELECT value FROM outbox ORDER BY id")
    ]
    assert [one["offset"] for one in letters] == [5, 6, 7]
    assert [one["violations"][0]["code"] for one in letters] == [
        "IZIN-UNREADABLE-RECEIPT",
        "IZIN-REFUSED-RECEIPT",
        "IZIN-REFUSED-RECEIPT",
    ]
    (row,) = await ledger.fetch(
        "SELECT next_offset FROM kafka_offsets WHERE partition = 0 AND topic LIKE '%%gate-receipts'"
    )
    assert row["next_offset"] == 13


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
