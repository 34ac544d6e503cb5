"""The command line as people meet it: help everywhere, and errors that name place and cure."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from izin.console.cli import app

ROOT = Path(__file__).parents[3]
RUNNER = CliRunner()


def every_command(group: Any, *before: str) -> Iterator[tuple[str, ...]]:  # noqa: ANN401  # typer's
    """Yield each command as it is typed, groups and what is in them."""
    for name, command in group.commands.items():
        yield (*before, name)
        if hasattr(command, "commands"):
            yield from every_command(command, *before, name)


COMMANDS = tuple(every_command(typer.main.get_command(app)))
ALONE = {
    name
    for name, command in typer.main.get_command(app).commands.items()
    if getattr(command, "invoke_without_command", False)
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    """--help works, and has a sentence besides the list of options."""
    shown = RUNNER.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output) > 100
    said = [line.strip() for line in shown.output.splitlines() if line.strip()]
    assert "Usage:" in said[0]
    assert said[1].endswith((".", ",")) or said[1][0].isupper()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_breaks_where_the_screen_ends(words: tuple[str, ...]) -> None:
    """A paragraph is one line, however it is broken in the source."""
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert "\n" not in command.help.replace("\n\n", "")


def test_a_command_imports_what_it_needs_and_no_more() -> None:
    """Who publishes one consent waits for no stream engine, no server and no registry."""
    words = ["publish", "--help"]
    asked = f"import sys; from izin.console.cli import app; app({words}, standalone_mode=False)"
    told = "print(*sys.modules, sep='\\n')"
    ran = [sys.executable, "-c", f"{asked}; {told}"]
    imported = subprocess.run(ran, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "izin.console.publish" in imported
    others = {"izin.streams", "izin.sinks", "iys_simulator", "izin.local", "izin.demo", "faust"}
    assert others.isdisjoint(imported)
    assert {"httpx", "confluent_kafka.schema_registry"}.isdisjoint(imported)


@pytest.mark.parametrize("page", ["README.md", "docs/intake.md", "docs/runbook.md"])
def test_commands_that_the_pages_name_exist(page: str) -> None:
    """Each ``izin …`` that a page tells people to type is a command."""
    text = (ROOT / page).read_text("utf-8")
    known = {words[0] for words in COMMANDS}
    named = re.findall(r"(?:^|`)izin ([a-z-]+)(?: ([a-z][a-z-]*))?", text, re.MULTILINE)
    assert named
    for command, word in named:
        assert command in known, command
        if not word and command in ALONE:
            continue
        if (command,) in COMMANDS and any(one[:1] == (command,) and one[1:] for one in COMMANDS):
            assert (command, word) in COMMANDS, f"{command} {word}"


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DATABASE_URL the ledger's commands say so, with exit code 4."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    shown = RUNNER.invoke(app, ["explain", "0555 000 00 01"])
    assert shown.exit_code == 4
    assert "DATABASE_URL" in shown.output


def test_a_brand_out_of_its_range_is_named_with_it() -> None:
    """A negative code is a whole number all the same, so the range is what is told."""
    words = ("--type=MESAJ", "--status=RET", "--source=HS_WEB", "--recipient=0555 000 00 01")
    shown = RUNNER.invoke(app, ["publish", "--brand", "-5", *words])
    assert shown.exit_code == 2
    assert "--brand" in shown.output
    assert "greater than or equal to 1" in shown.output


def test_every_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whichever group: nobody sets one to be told of the next. Alone, deadlines is its show."""
    for name in ("DATABASE_URL", "IYS_USERNAME", "IYS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for words in (["deadlines", "--output", "json"], ["deadlines", "show"]):
        shown = RUNNER.invoke(app, words)
        assert shown.exit_code == 4
        for name in ("IYS_USERNAME", "IYS_PASSWORD", "DATABASE_URL"):
            assert f"{name} (missing)" in shown.output
    assert RUNNER.invoke(app, ["deadlines", "--output", "json", "breaches"]).exit_code == 2


def test_two_parts_cannot_share_a_port() -> None:
    """One's health would be taken for the other's: both options are named, nothing is started."""
    shown = RUNNER.invoke(app, ["up", "--intake-port", "31888", "--sink-port", "31888"])
    assert shown.exit_code == 2
    assert "--intake-port and --sink-port" in shown.output
