"""The benchmarks of a scrub and of the permission list measure correctly, on few rows."""

import pytest

from benchmarks.gate.scrub import gate_scrub
from benchmarks.subscribers.permission_list import permission_list

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


def test_scrub_is_measured_from_start_to_end():
    """Each figure is there; how good it is, is for the bar to judge."""
    report = gate_scrub(recipients=1_000)
    assert report.failures == []
    assert (report.data["recipients"], report.data["may_send"]) == (1_000, 900)
    assert report.figures.keys() == {"gate-scrub-seconds", "gate-scrub-memory"}
    assert all(report.figures.values())


def test_list_is_measured_from_start_to_opt_outs():
    """Each figure is there; how good it is, is for the bar to judge."""
    report = permission_list(keys=2_000, opt_outs=5)
    assert report.data["keys"] == 2_000
    assert len(report.data["closed_ms"]) == 5
    assert report.figures.keys() == {
        f"permission-list-{one}" for one in ("load", "memory", "answer", "opt-out")
    }
    assert all(report.figures.values())
