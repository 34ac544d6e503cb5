"""``izin verify``: one digest, and a readable counterexample."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner, Result

from izin.cli.cli import app
from izin.cli.verify import command
from tests.unit.cli.broken_laws import BROKEN, LAST_WINS

RUNNER = CliRunner()


def run_verify(*options: str) -> Result:
    """Run `izin verify` with these options."""
    return RUNNER.invoke(app, ["verify", *options])


def verified(*options: str) -> dict[str, Any]:
    """Return the JSON of a run without a counterexample."""
    shown = run_verify("--output", "json", *options)
    assert shown.exit_code == 0, shown.output
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def test_verify_result_depends_on_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the same digest. Another seed tries other sets."""
    monkeypatch.setattr(command, "LARGE", 20)
    one, two = (verified("--permutations", "300")["digest"] for _ in range(2))
    assert one == two
    assert verified("--permutations", "300", "--seed", "1")["digest"] != one


def test_verify_by_default_tries_both_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets, and a large one for every thousand; the table has both, and one digest."""
    monkeypatch.setattr(command, "LARGE", 200)
    found = verified("--permutations", "1001")
    small, large = found["series"]
    assert (small["set"], small["sets"], small["permutations"]) == ("2 to 8 events", 41, 1001)
    assert (large["set"], large["sets"], large["permutations"]) == ("200 events", 1, 2)
    assert found["counterexample"] is None
    shown = run_verify("--permutations", "1001")
    assert f"one digest: {found['digest']}" in shown.stdout
    assert small["digest"][:16] in shown.stdout
    assert command.PERMUTATIONS == 100 * command.PER_LARGE


def test_verify_counterexample_as_json_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; two events, two orders, both states, and masked recipients."""
    monkeypatch.setattr(command, "LAW", LAST_WINS)
    shown = run_verify("--output", "json", "--permutations", "100")
    assert shown.exit_code == 1
    found = json.loads(shown.stdout)
    assert found["digest"] is None
    assert len(found["series"]) == 1
    clash = found["counterexample"]
    assert len(clash["events"]) == 2
    assert (clash["one"], clash["other"]) == ([[1, 2]], [[2, 1]])
    assert clash["one_state"] != clash["other_state"]
    keys = [one["key"] for one in clash["events"] + clash["one_state"] + clash["other_state"]]
    assert all("***" in key for key in keys)


def test_verify_counterexample_as_table_shows_differences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fields that differ are there, and the recipient is masked."""
    monkeypatch.setattr(command, "LAW", BROKEN["merge takes the first"][0])
    monkeypatch.setattr(command.out, "width", 200)
    shown = run_verify("--permutations", "500")
    assert shown.exit_code == 1
    assert "the law does not hold: the two orders give different states" in shown.stdout
    assert "(1 2)" in shown.stdout
    assert "(1) + (2)" in shown.stdout
    assert "***" in shown.stdout
    assert "+90500" not in shown.stdout
    rows = [line.strip("│").split("│") for line in shown.stdout.splitlines() if "***" in line]
    states = [one for one in rows if len(one) == 4]
    assert states
    assert all(one[2].strip() != one[3].strip() for one in states)


def test_verify_of_zero_permutations_is_wrong_usage() -> None:
    """It would check nothing."""
    assert run_verify("--permutations", "0").exit_code == 2


def test_verify_interrupted_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with exit code 130, and no digest."""
    monkeypatch.setattr(command, "try_law", Mock(side_effect=KeyboardInterrupt))
    shown = run_verify()
    assert shown.exit_code == 130
    assert "digest" not in shown.stdout
