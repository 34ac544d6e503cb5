"""The benchmark of the permission list measures correctly, on few keys."""

import pytest

from benchmarks.subscribers.permission_list import permission_list

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


def test_list_is_measured_from_start_to_opt_outs():
    """Each figure is there; how good it is, is for the bar to judge."""
    report = permission_list(keys=2_000, opt_outs=5)
    assert report.data["keys"] == 2_000
    assert len(report.data["closed_ms"]) == 5
    assert report.figures.keys() == {
        f"permission-list-{one}" for one in ("load", "memory", "answer", "opt-out")
    }
    assert all(report.figures.values())
