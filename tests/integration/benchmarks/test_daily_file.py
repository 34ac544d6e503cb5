"""The benchmark of daily files measures correctly, on a short one."""

from pathlib import Path

import pytest

from benchmarks.daily.command import measure_daily_file

pytestmark = [pytest.mark.database, pytest.mark.timeout(60)]


def test_daily_file_is_fetched_and_compared(database_url: str, tmp_path: Path):
    """Each figure is there, and both files are equal; how good it is, is for the bar to judge."""
    found = measure_daily_file(database_url, tmp_path, rows=500)
    assert (found["lines"], found["is_equal"], found["timestamp"]) == (500, True, "unverified")
    assert found["seconds"] > 0
    assert found["peak_megabytes"] > 0
