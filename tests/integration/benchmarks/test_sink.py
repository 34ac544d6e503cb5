"""The benchmark of the sink measures correctly, on a small ledger."""

import json
from dataclasses import asdict

import pytest

from benchmarks.sink.fixture import BRANDS, sink_fixture
from benchmarks.sink.submission_cost import measure_submission_cost
from izin.runtime.settings import KafkaSettings

pytestmark = pytest.mark.database


async def test_a_thousand_keys_are_claimed_submitted_and_settled(database_url: str):
    """Every claimed key ends as accepted, and every entry is saved."""
    async with sink_fixture(database_url, KafkaSettings(), keys=100) as fixture:
        found = await measure_submission_cost(
            fixture, database_url, ingested=50, trials=1, keys=100
        )
        rows = await fixture.ledger.fetch(
            "SELECT state, count(*) AS keys FROM consents GROUP BY state ORDER BY state"
        )
    # Three thousands warm up before the one that is measured. What was ingested is still pending,
    # and so are the known keys that opted out and in again.
    assert {row["state"]: row["keys"] for row in rows} == {"accepted": 4076, "pending": 74}
    # The registration of the customer and of each brand is an entry too.
    assert found.entries == 1 + len(BRANDS) + 50 + 3 * 4000
    assert min(found.claimed_ms, found.settled_ms, found.entry_bytes, found.cpu_ms) > 0
    assert json.loads(json.dumps(asdict(found))) == asdict(found)
