"""The benchmark of a rebuild measures one whose digests are equal."""

from pathlib import Path

import pytest

from benchmarks.sink.ledger_rebuild import measure_rebuild

pytestmark = pytest.mark.database


async def test_rebuild_is_measured_and_agrees(database_url: str, tmp_path: Path) -> None:
    """Of every key, without a call to İYS; and a lost table stands again."""
    plan = tmp_path / "plan.json"
    found = await measure_rebuild(database_url, plan, keys=500, workers=1, lost=True)
    assert (found.keys, found.is_equal, found.differences, found.calls) == (500, True, 0, 0)
    assert found.restored is not None
