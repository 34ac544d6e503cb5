"""The rows between ours and an anchor are few, and found without reading a month."""

import asyncio
from datetime import timedelta

import pytest

from izin.sinks.monitor import anchors
from tests.integration.sinks.ledger.test_history import anchor_writer
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay

pytestmark = pytest.mark.database

INDEXED_MONTHS = """SELECT count(DISTINCT c.inhrelid)
    FROM pg_inherits AS c JOIN pg_indexes AS i ON i.tablename = c.inhrelid::regclass::text
    WHERE c.inhparent = 'movements'::regclass AND i.indexdef LIKE '%USING brin (recorded_at)%'"""


async def test_chain_is_anchored_soon_and_its_months_are_indexed(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """A chain that grows fast is anchored before the interval ends. A month has the index by its
    creation.
    """
    monkeypatch.setattr(anchors, "MOST_ROWS", 3)
    monkeypatch.setattr(anchors, "_LOOKS", timedelta(milliseconds=5))
    writer = anchor_writer(harness.ledger, None)
    await writer.anchor()
    waiting = asyncio.create_task(writer.wait())
    await harness.ingest(*(onay(a_phone(number)) for number in range(4)))
    await asyncio.wait_for(waiting, 20)
    assert await writer.anchor() == 1
    assert (await harness.ledger.fetch(INDEXED_MONTHS))[0]["count"] == 1
