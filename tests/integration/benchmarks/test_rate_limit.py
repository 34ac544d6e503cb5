"""The measurement at İYS's limit measures what it says, on a small backlog."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.sink.cpu_priority import put_elsewhere

pytestmark = pytest.mark.database


def test_a_small_backlog_is_told_to_its_end(tmp_path: Path):
    """Every consent ends as accepted, and who said no in between ends so at İYS."""
    kept = tmp_path / "limit.json"
    given = ["--consents", "4000", "--batch", "200", "--delay", "0.5", "--opt-outs", "1"]
    shown = CliRunner().invoke(app, ["limit", *given, "--results", str(kept)])
    assert shown.exit_code == 0, shown.output
    found = json.loads(kept.read_text())
    assert (found["consents"], found["refused"]) == (4000, 0)
    assert found["accepted"] >= 4000
    assert all(one["registered"] for one in found["opt_outs"])
    assert found["codes"].get("H124", 0) == 0
    assert "the simulator" in found["machine"]


def test_a_process_goes_before_others_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch):
    """Where it is not, the measurement goes on and says so."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        if put_elsewhere(child.pid):
            assert os.sched_getscheduler(child.pid) == os.SCHED_RR
        monkeypatch.delattr(os, "sched_setscheduler")
        assert not put_elsewhere(child.pid)
    finally:
        child.communicate(b"\n", timeout=10)
