"""The parts of ``izin replay`` that need no server."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.replay.command import replay_of
from izin.cli.replay.what_if import selection_of
from izin.cli.terminal import output
from izin.consent import SourceError
from izin.runtime.plan import PlanMovedError, Selection
from tests.support.builders import PHONE, a_key
from tests.unit.replay.test_order_state import a_plan


def test_options_make_a_selection() -> None:
    """Recipients in any notation, and keys; without options everything."""
    assert selection_of(recipients=None, brands=None) == Selection()
    key = str(a_key())
    found = selection_of(recipients=["0555 000 00 01", key], brands=[100001])
    assert found == Selection(
        keys=frozenset({key}),
        recipients=frozenset({PHONE}),
        brands=frozenset({100001}),
    )


def test_unreadable_line_of_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number, not by what it says."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PHONE}\n\nnobody\n"))
    with pytest.raises(SourceError, match="standard input, line 3"):
        selection_of(recipients=["-"], brands=None)


def test_what_if_of_a_period_that_ends_before_it_begins_exits_with_3(tmp_path: Path) -> None:
    """Before the ledger is asked; nothing is written."""
    period = ("--since", "2026-05-05T00:00:00Z", "--until", "2026-05-04T00:00:00Z")
    file = tmp_path / "differs.csv"
    done = CliRunner().invoke(app, ["replay", "what-if", "--out", str(file), *period])
    assert (done.exit_code, "--since must be before --until" in done.stderr) == (3, True)
    assert not file.exists()


def test_plan_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """It may be of another release."""
    assert replay_of(tmp_path, a_plan())
    with pytest.raises(SourceError, match="no divination of tea"):
        replay_of(tmp_path, replace(a_plan(), kind="divination", target="tea"))


def test_progress_says_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, a line every ten seconds."""
    now = 100.0
    monkeypatch.setattr(output.time, "monotonic", lambda: now)
    with output.showing("reading") as shown:
        shown(0, 1000)
        now = 105.0
        shown(100, 1000)
        now = 110.0
        shown(200, 1000)
    assert capsys.readouterr().err == "reading: 200 of 1,000, 20/s, 40 s left\n"


def test_plan_of_another_target_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing is asked of any server before that."""
    path = tmp_path / "plan.json"
    a_plan().write(path)
    before = path.read_bytes()
    done = CliRunner().invoke(app, ["replay", "rebuild", "ledger", f"--plan={path}"])
    assert (done.exit_code, "name another file" in done.stderr) == (3, True)
    assert path.read_bytes() == before


def test_error_of_a_moved_plan_names_few_partitions() -> None:
    """Each partition may have moved."""
    error = PlanMovedError([f"consent-events/{number} ends at 2, not 1" for number in range(48)])
    assert "consent-events/2 ends at 2, not 1; and 45 more; plan again" in str(error)
    assert len(error.moved) == 48
