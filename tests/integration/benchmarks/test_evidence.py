"""The benchmark of evidence measures correctly, on few rows."""

import pytest

from benchmarks.sink.evidence import measure_evidence

pytestmark = pytest.mark.database


async def test_archive_of_a_recipient_is_measured_and_proven(database_url: str):
    """With a segment for each anchor that its entries need."""
    found = await measure_evidence(database_url, rows=60, entries=6)
    assert (found.entries, found.is_proven, found.segments) == (6, True, 1)
    assert found.seconds > 0
    assert found.rows > 60
