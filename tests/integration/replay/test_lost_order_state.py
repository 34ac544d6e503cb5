"""The worked case of docs/replaying.md: the order state is lost, and restored."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from tests.integration.replay.rebuild_harness import RebuildHarness
from tests.integration.replay.test_rebuild_order_state import OTHER, at
from tests.integration.replay.test_repair_order_state import desired, standing
from tests.integration.replay.test_replay_command import Izin, izin

pytestmark = [pytest.mark.broker, pytest.mark.database]

__all__ = ("izin",)


def test_lost_order_state_is_restored(
    izin: Izin,  # the fixture of that name
    with_ledger: RebuildHarness,
    tmp_path: Path,
) -> None:
    """Step by step as the page says: topics and ledger agree in the end, and no subscriber got an
    opt-out twice.
    """
    harness, plan = with_ledger, tmp_path / "lost-state.json"
    harness.publish(at(minutes=1), at(minutes=2, recipient=OTHER))
    harness.publish(at(minutes=3, status="RET"), express=True)
    harness.decide()
    harness.ingest()
    rows = harness.rows()
    harness.lose_rows()
    harness.publish(at(minutes=9, recipient=OTHER, status="RET"), express=True)
    done = izin("rebuild", "desired-consents", "--plan", plan, "--output=json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["missing"] == len(rows) == 2
    assert "created again" in izin("show", plan).stderr
    done = izin("run", plan, "--execute")
    assert done.exit_code == 0, done.output
    assert harness.rows() == rows
    harness.decide()
    harness.ingest()
    assert harness.written(harness.topics.opt_outs.name) == 2
    assert harness.written(harness.topics.decisions.name) == 4
    assert desired(harness) == standing(harness)
    words = ["doctor", "--no-running", "--output=json"]
    findings = json.loads(CliRunner().invoke(app, words).stdout)
    states = {one["check"]: one["state"] for one in findings}
    assert {states[check] for check in ("topics", "database", "dead-letters")} == {"ok"}, findings
    done = izin("rebuild", "desired-consents", "--plan", tmp_path / "later.json", "--output=json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["missing"]) == (0, 0)
    assert found["computed"] == found["standing"]
