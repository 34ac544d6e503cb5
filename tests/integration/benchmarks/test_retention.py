"""The benchmark of legal holds fills a ledger that its own guards accept."""

import pytest

from benchmarks.sink.retention import measure_retention

pytestmark = pytest.mark.database


async def test_months_under_many_holds_are_measured(database_url: str):
    """Both questions that a person asks, over rows as the history has them."""
    found = await measure_retention(database_url, rows=2000, holds=40)
    assert (found.rows, found.holds) == (2000, 40)
    assert found.seconds > 0
