"""The command line as people meet it: help everywhere, and errors that name place and cure."""

import re
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from izin.console.cli import app

ROOT = Path(__file__).parents[3]
RUNNER = CliRunner()
COMMANDS = (
    "brands",
    "demo",
    "doctor",
    "explain",
    "import",
    "intake",
    "publish",
    "simulator",
    "sink",
    "stream",
    "up",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """--help works and says something."""
    shown = RUNNER.invoke(app, [name, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output) > 100


def test_commands_that_the_readme_names_exist() -> None:
    """Each ``izin …`` in the README is a command."""
    named = set(re.findall(r"^izin (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    assert named <= set(group.commands)  # type: ignore[attr-defined]


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DATABASE_URL the ledger's commands say so, with exit code 4."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    shown = RUNNER.invoke(app, ["explain", "0555 000 00 01"])
    assert shown.exit_code == 4
    assert "DATABASE_URL" in shown.output
