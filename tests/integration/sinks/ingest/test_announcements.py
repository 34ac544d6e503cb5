"""How far decisions are ingested is published: behind what they changed, and never too far."""

import pytest

from izin.sinks.ledger import offsets
from izin.sinks.record.errors import ConcurrentChangeError
from tests.integration.sinks.sink_harness import TOPIC, SinkHarness, a_phone, given_at, minutes_ago

pytestmark = pytest.mark.database

ROWS = "SELECT topic FROM outbox ORDER BY id"


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
    decisions = harness.decided(given_at(minutes_ago(3)))
    await harness.ingester.store(TOPIC, "topic", decisions, {})
    assert await announced(harness) == []
