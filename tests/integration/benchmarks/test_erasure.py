"""The benchmark of erasures measures correctly, on few keys."""

import pytest

from benchmarks.sink.erasure import measure_erasure

pytestmark = pytest.mark.database


async def test_every_step_of_an_erasure_is_measured(database_url: str):
    """And every key is erased, with all of its history."""
    found = await measure_erasure(database_url, keys=400, erased=40)
    assert found.erased == 40
    assert found.entries >= 40
    assert found.seconds > 0
