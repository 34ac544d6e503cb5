"""The benchmark of the outbox measures correctly, on few rows."""

import pytest

from benchmarks.sink.outbox import measure_outbox_reads

pytestmark = pytest.mark.database


async def test_reads_are_measured_before_and_after_delivered_rows(database_url: str):
    """Each kind of read is measured; how they compare is for the bar to judge."""
    found = await measure_outbox_reads(database_url, delivered=20_000, trials=3)
    assert found.delivered >= 20_000
    assert min(found.empty_ms, found.floor_ms, found.first_id_ms) > 0
