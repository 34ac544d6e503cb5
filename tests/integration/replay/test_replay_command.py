"""``izin replay``: what it says, what it does, and that a killed one goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.consent import Status
from izin.replay.order_state.repair import StateRebuild
from tests.integration.replay.rebuild_harness import CODEC, SECRET, RebuildHarness
from tests.integration.replay.test_rebuild_order_state import KEY, OTHER, at, desired, standing
from tests.integration.sinks.sink_harness import ended
from tests.support.builders import NOON, PHONE
from tests.support.order.verdict import until

pytestmark = [pytest.mark.broker, pytest.mark.database]

Izin = Callable[..., Result]


@pytest.fixture
def izin(with_ledger: RebuildHarness, monkeypatch: pytest.MonkeyPatch) -> Izin:
    """Return a function that runs a command on this test's servers."""
    settings, ledger = with_ledger.settings, with_ledger.ledger
    assert ledger is not None
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": str(settings.partitions),
        "IZIN_SUPPRESSION_SECRETS": f'["{SECRET}"]',
        "DATABASE_URL": ledger.database_url.get_secret_value(),
        "IZIN_ACTOR": "ada",
        "COLUMNS": "80",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)

    def run(*words: object, stdin: str | None = None) -> Result:
        arguments = ["replay", *(str(word) for word in words)]
        return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)

    return run


def rebuild(izin: Izin, path: Path, *options: str, stdin: str | None = None) -> Result:
    """Return what a dry run says."""
    words = ("rebuild", "desired-consents", "--plan", path, "--processes=1", *options)
    return izin(*words, stdin=stdin)


def interrupted(*_: object, **_options: object) -> None:
    """Do what a signal does."""
    raise KeyboardInterrupt


def test_plan_is_made_shown_and_executed(
    izin: Izin, with_ledger: RebuildHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run masks recipients and changes nothing; what is run afterwards leaves nothing. Each
    exit code says whether something is left.
    """
    harness, path = with_ledger, tmp_path / "plan.json"
    harness.publish(at(minutes=1, status="RET"), at(minutes=2, recipient=OTHER))
    harness.decide()
    row = CODEC.decode_consent(harness.rows()[KEY])
    harness.write_row(
        KEY,
        replace(row, status=Status.ONAY, effective_at=NOON, latest_onay_at=NOON),
    )
    before = harness.ends()
    done = rebuild(izin, path, f"--recipient={OTHER}")
    assert (done.exit_code, "keys: 1" in done.stdout) == (0, True), done.output
    done = ended(rebuild(izin, path), 1, f"izin replay run {path} --execute")
    assert "100001/MESAJ/BIREYSEL/+90***01" in done.stdout
    assert PHONE not in done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert harness.ends() == before
    assert path.stat().st_mode & 0o777 == 0o600
    shown = izin("show", path, "--unmasked", "--output=json")
    found = json.loads(shown.stdout)
    assert (shown.exit_code, found["left"], found["rows"][0]["key"]) == (1, 1, KEY)
    ended(izin("run", path), 1, "the plan holds")
    with monkeypatch.context() as patch:
        patch.setattr(StateRebuild, "execute", interrupted)
        assert izin("run", path, "--execute").exit_code == 130
    done = ended(izin("run", path, "--execute", "--output=json"), 0)
    found = json.loads(done.stdout)
    assert (found["rows_written"], found["opt_outs_written"], found["left"]) == (1, 1, 0)
    done = ended(
        rebuild(izin, tmp_path / "after.json", "--recipient=-", stdin=f"0555 000 00 01\n{OTHER}"), 0
    )
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
    harness.publish(*(at(minutes=1, recipient=one, status="RET") for one in recipients))
    harness.decide(at_once=3000)
    rows = harness.rows()
    harness.lose_rows()
    options = ["rebuild", "desired-consents", f"--plan={path}", "--processes=1"]
    killed(options, path.with_name(f"{path.name}.work").exists, "folder")
    done = rebuild(izin, path, "--output=json")
    found = json.loads(done.stdout)
    assert (found["missing"], found["keys"]) == (len(rows), len(rows))
    topic = harness.topics.desired_consents.name
    killed(
        ["run", str(path), "--execute"],
        lambda: harness.ends()[topic][0] > 3,
        "row",
    )
    done = izin("run", path, "--execute")
    assert done.exit_code == 0, done.output
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
