"""``izin replay``: what it says, what it does, and that a killed one goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from click.testing import Result
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.consent import Status
from izin.replay.order_state.repair import StateRebuild
from tests.integration.replay.rebuild_harness import CODEC, SECRET, RebuildHarness
from tests.integration.replay.test_rebuild_order_state import KEY, OTHER, at, current, desired
from tests.integration.sinks.sink_harness import ended, kafka_environment, set_environment
from tests.support.builders import NOON, PHONE
from tests.support.order.verdict import until

pytestmark = [pytest.mark.broker, pytest.mark.database]

Izin = Callable[..., Result]


@pytest.fixture
def izin(with_ledger: RebuildHarness, monkeypatch: pytest.MonkeyPatch) -> Izin:
    """Return a function that runs a command on this test's servers."""
    settings, ledger = with_ledger.settings, with_ledger.ledger
    assert ledger is not None
    given = kafka_environment(settings) | {
        "IZIN_SUPPRESSION_SECRETS": f'["{SECRET}"]',
        "DATABASE_URL": ledger.database_url.get_secret_value(),
        "IZIN_ACTOR": "ada",
        "COLUMNS": "80",
    }
    set_environment(monkeypatch, given)

    def run(*words: object, stdin: str | None = None) -> Result:
        arguments = ["replay", *(str(word) for word in words)]
        return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)

    return run


def rebuild(izin: Izin, path: Path, *options: str, stdin: str | None = None) -> Result:
    """Return what a dry run says."""
    words = ("rebuild", "desired-consents", "--plan", path, "--processes=1", *options)
    return izin(*words, stdin=stdin)


def test_plan_is_made_shown_and_executed(
    izin: Izin, with_ledger: RebuildHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run masks recipients and changes nothing; what is run afterwards leaves nothing. Each
    exit code says whether something is left.
    """
    harness, path = with_ledger, tmp_path / "plan.json"
    harness.decide(at(minutes=1, status="RET"), at(minutes=2, recipient=OTHER))
    row = CODEC.decode_consent(harness.rows()[KEY])
    harness.write_row(
        KEY,
        replace(row, status=Status.ONAY, effective_at=NOON, latest_onay_at=NOON),
    )
    before = harness.ends()
    assert "keys: 1" in ended(rebuild(izin, path, f"--recipient={OTHER}"), 0).stdout
    done = ended(rebuild(izin, path), 1, f"izin replay run {path} --execute")
    assert "100001/MESAJ/BIREYSEL/+90***01" in done.stdout
    assert PHONE not in done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert harness.ends() == before
    assert path.stat().st_mode & 0o777 == 0o600
    found = json.loads(ended(izin("show", path, "--unmasked", "--output=json"), 1).stdout)
    assert (found["left"], found["rows"][0]["key"]) == (1, KEY)
    ended(izin("run", path), 1, "the plan holds")
    with monkeypatch.context() as patch:
        patch.setattr(StateRebuild, "execute", Mock(side_effect=KeyboardInterrupt))
        assert izin("run", path, "--execute").exit_code == 130
    found = json.loads(ended(izin("run", path, "--execute", "--output=json"), 0).stdout)
    assert (found["rows_written"], found["opt_outs_written"], found["left"]) == (1, 1, 0)
    listed = f"0555 000 00 01\n{OTHER}"
    done = ended(rebuild(izin, tmp_path / "after.json", "--recipient=-", stdin=listed), 0)
    assert "keys: 2" in done.stdout


def killed(words: list[str], moment: Callable[[], bool], what: str) -> None:
    """Run a command in a process of its own, and kill it (-9) at a moment."""
    arguments = [sys.executable, "-m", "izin.cli", "replay", *words]
    process = subprocess.Popen(
        arguments, env={**os.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: moment() or process.poll() is not None, within=60, what=what)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)


def test_killed_replay_ends_as_one_that_was_not(
    izin: Izin, with_ledger: RebuildHarness, tmp_path: Path
) -> None:
    """Killed (-9) in the dry run and in the execution, and given again: every row stands once, and
    nobody is notified again.
    """
    harness, path = with_ledger, tmp_path / "plan.json"
    recipients = [f"+90555100{number:04d}" for number in range(3000)]
    events = [at(minutes=1, recipient=one, status="RET") for one in recipients]
    harness.decide(*events, at_once=3000)
    rows = harness.rows()
    harness.lose_rows()
    options = ["rebuild", "desired-consents", f"--plan={path}", "--processes=1"]
    killed(options, path.with_name(f"{path.name}.work").exists, "folder")
    found = json.loads(rebuild(izin, path, "--output=json").stdout)
    assert (found["missing"], found["keys"]) == (len(rows), len(rows))
    topic = harness.topics.desired_consents.name
    killed(
        ["run", str(path), "--execute"],
        lambda: harness.ends()[topic][0] > 3,
        "row",
    )
    ended(izin("run", path, "--execute"), 0)
    assert harness.rows() == rows
    assert harness.written(topic) == harness.written(harness.topics.opt_outs.name) == len(rows)
    assert harness.dry_run().is_identical


def test_wrong_options_are_refused(izin: Izin, tmp_path: Path) -> None:
    """What nothing can match, and a file that is no plan."""
    path = tmp_path / "plan.json"
    assert rebuild(izin, path, "--recipient=nobody").exit_code == 3
    assert not path.exists()
    ended(rebuild(izin, tmp_path / "absent" / "plan.json"), 4, "No such file")
    path.write_text("{}")
    ended(izin("show", path), 3, "it is no plan")


def test_lost_order_state_is_restored(
    izin: Izin,
    with_ledger: RebuildHarness,
    tmp_path: Path,
) -> None:
    """Step by step as the page says: topics and ledger agree in the end, and no subscriber got an
    opt-out twice.
    """
    harness, plan = with_ledger, tmp_path / "lost-state.json"
    harness.publish(at(minutes=1), at(minutes=2, recipient=OTHER))
    harness.decide(at(minutes=3, status="RET"), express=True)
    harness.ingest()
    rows = harness.rows()
    harness.lose_rows()
    harness.publish(at(minutes=9, recipient=OTHER, status="RET"), express=True)
    done = ended(izin("rebuild", "desired-consents", "--plan", plan, "--output=json"), 1)
    assert json.loads(done.stdout)["missing"] == len(rows) == 2
    assert "created again" in izin("show", plan).stderr
    ended(izin("run", plan, "--execute"), 0)
    assert harness.rows() == rows
    harness.decide()
    harness.ingest()
    assert harness.written(harness.topics.opt_outs.name) == 2
    assert harness.written(harness.topics.decisions.name) == 4
    assert desired(harness) == current(harness)
    words = ["doctor", "--no-running", "--output=json"]
    findings = json.loads(CliRunner().invoke(app, words).stdout)
    states = {one["check"]: one["state"] for one in findings}
    assert {states[check] for check in ("topics", "database", "dead-letters")} == {"ok"}, findings
    later = ("desired-consents", "--plan", tmp_path / "later.json", "--output=json")
    found = json.loads(ended(izin("rebuild", *later), 0).stdout)
    assert found["missing"] == 0
    assert found["computed"] == found["current"]
