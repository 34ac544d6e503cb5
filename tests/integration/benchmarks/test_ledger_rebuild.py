"""The benchmarks of rebuilds measure ledgers whose digests are equal."""

from pathlib import Path

import pytest

from benchmarks.sink.ledger_lost import measure_lost, measure_publishing
from benchmarks.sink.ledger_rebuild import measure_rebuild
from izin.runtime.settings import KafkaSettings
from tests.integration.conftest import kafka_settings

__all__ = ["kafka_settings"]

pytestmark = pytest.mark.database


async def test_rebuild_is_measured_and_agrees(database_url: str, tmp_path: Path) -> None:
    """Of every key, without a call to İYS."""
    plan = tmp_path / "plan.json"
    found = await measure_rebuild(database_url, plan, keys=500, workers=1)
    assert (found.keys, found.is_equal, found.differences, found.calls) == (500, True, 0, 0)


@pytest.mark.broker
async def test_lost_ledger_stands_again_and_is_published(
    database_url: str,
    kafka_settings: KafkaSettings,  # a fixture
    tmp_path: Path,
) -> None:
    """Every row as it was, and one permission of each."""
    plan = tmp_path / "plan.json"
    found = await measure_lost(database_url, kafka_settings, plan, keys=500, workers=1)
    assert (found.failures, found.is_equal, found.queued) == ([], True, 500)
    assert await measure_publishing(database_url, kafka_settings) > 0
