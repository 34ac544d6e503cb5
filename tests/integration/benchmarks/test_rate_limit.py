"""The benchmark at İYS's limit measures correctly, on a small backlog."""

import os
import subprocess
import sys

import pytest

from benchmarks.sink.cpu_priority import give_priority
from benchmarks.sink.rate_limit import rate_limit

pytestmark = pytest.mark.database


def test_a_small_backlog_is_submitted_to_its_end():
    """Every consent is accepted, and every opt-out made meanwhile is registered at İYS."""
    found = rate_limit(consents=4000, workers=1, batch=200, delay=0.5, opt_outs=1)
    assert (found.data["consents"], found.data["refused"]) == (4000, 0)
    assert found.data["accepted"] >= 4000
    assert found.figures["opt-outs-missing"] in {0, None}  # None: it was over before one came
    assert found.figures["rate-limit-h124"] == 0
    assert found.figures["rate-limit-used"] > 0
    assert "the simulator" in found.data["simulator"]


def test_a_process_gets_priority_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch):
    """Where it is not permitted, the measurement continues and reports it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        if give_priority(child.pid):
            assert os.sched_getscheduler(child.pid) == os.SCHED_RR
        monkeypatch.delattr(os, "sched_setscheduler")
        assert not give_priority(child.pid)
    finally:
        child.communicate(b"\n", timeout=10)
