"""The benchmark of a scrub measures correctly, on a short file."""

import pytest

from benchmarks.gate.scrub import gate_scrub

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


def test_scrub_is_measured_from_start_to_end():
    """Each figure is there; how good it is, is for the bar to judge."""
    report = gate_scrub(recipients=1_000)
    assert report.failures == []
    assert (report.data["recipients"], report.data["may_send"]) == (1_000, 900)
    assert report.figures.keys() == {"gate-scrub-seconds", "gate-scrub-memory"}
    assert all(report.figures.values())
