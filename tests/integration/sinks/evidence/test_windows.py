"""The rows between ours and an anchor are few, and found without reading a month."""

import asyncio
from datetime import timedelta

import pytest
from psycopg import sql

from izin.sinks.ledger.db.migrate import MONTH, migrations
from izin.sinks.monitor import anchors
from tests.integration.sinks.ledger.test_history import anchor_writer
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay

pytestmark = pytest.mark.database

INDEXES = """SELECT i.tablename, i.indexname,
        count(*) FILTER (WHERE i.indexdef LIKE '%USING brin (recorded_at)%') AS ours
    FROM pg_inherits AS c JOIN pg_indexes AS i ON i.tablename = c.inhrelid::regclass::text
    WHERE c.inhparent = 'movements'::regclass GROUP BY i.tablename, i.indexname"""


async def indexes(harness: SinkHarness) -> dict[str, str]:
    """Return the index by instant of each month of the history."""
    found = await harness.ledger.fetch(INDEXES)
    return {row["tablename"]: row["indexname"] for row in found if row["ours"]}


async def test_chain_is_anchored_soon_and_its_months_are_indexed(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """A chain that grows fast is anchored before the interval ends. A new month has the index by
    its creation, an older one by the migration, which may be repeated.
    """
    monkeypatch.setattr(anchors, "MOST_ROWS", 3)
    monkeypatch.setattr(anchors, "_LOOKS", timedelta(milliseconds=5))
    writer = anchor_writer(harness.ledger, None)
    await writer.anchor()
    waiting = asyncio.create_task(writer.wait())
    await harness.ingest(*(onay(a_phone(number)) for number in range(4)))
    await asyncio.wait_for(waiting, 20)
    assert await writer.anchor() == 1
    ((month, index),) = (await indexes(harness)).items()
    (one, *_) = [one for one in migrations() if one.is_outside and MONTH in one.index]
    async with harness.ledger.session() as connection:
        await connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
        assert await indexes(harness) == {}
        for _ in range(2):
            await connection.execute(one.text.replace(MONTH, month).encode())
    assert await indexes(harness) == {month: index}
