"""The measurement of the sinks measures what it says, on a small ledger."""

import json
from dataclasses import asdict

import pytest

from benchmarks.sink.fixture import filled
from benchmarks.sink.submission_cost import at_size
from izin.runtime.settings import KafkaSettings

pytestmark = pytest.mark.database


async def test_a_thousand_keys_are_claimed_told_and_settled(database_url: str):
    """Whatever the figures, every key that was claimed ends as accepted, and every fact is kept."""
    async with filled(database_url, KafkaSettings(), keys=100) as ledger:
        found = await at_size(ledger, database_url, ingested=50, laps=1, keys=100)
        rows = await ledger.ledger.fetch(
            "SELECT state, count(*) AS keys FROM consents GROUP BY state ORDER BY state"
        )
    # Three thousands are told before the lap that is measured. What was ingested waits on, and so
    # do the known keys that said no, and yes again.
    assert {row["state"]: row["keys"] for row in rows} == {"accepted": 4076, "pending": 74}
    assert found.movements == 50 + 3 * 4000
    assert min(found.claimed_ms, found.settled_ms, found.movement_bytes, found.cpu_ms) > 0
    assert json.loads(json.dumps(asdict(found))) == asdict(found)
