"""What waits for a person always comes with what that person does."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.console.brands import CURES
from izin.console.cli import app

SINKS = Path(__file__).parents[3] / "izin" / "sinks"
RUNNER = CliRunner()


def test_each_reason_for_parking_has_a_cure() -> None:
    """No reason that the sinks give is unknown to ``izin brands parked``."""
    given = {
        reason
        for path in SINKS.glob("*.py")
        for reason in re.findall(r"parked\(\w+, \"([a-z-]+)\"", path.read_text("utf-8"))
    }
    assert given
    assert given <= set(CURES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "0", "--iys-code", "1", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "0", "--customer", "acme", "--name", "Örnek"],
        ["add", "1", "--iys-code", "1", "--customer", "acme", "--name", "Örnek", "--activated-at"],
        ["requeue", "1"],
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    """A code that can be none, a date that is missing, a reason not given: exit code 2."""
    assert RUNNER.invoke(app, ["brands", *arguments]).exit_code == 2
