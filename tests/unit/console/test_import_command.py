"""``izin import`` where it is stopped, or given options that contradict each other."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console
from typer.testing import CliRunner

from izin.console.cli import app
from izin.console.imports import command
from izin.console.terminal import output
from izin.console.terminal.output import ExitCode


class StoppedSession:
    """A session in which Ctrl-C comes while a file is imported."""

    def run(self, *_: object) -> NoReturn:
        """Raise what Ctrl-C does."""
        raise KeyboardInterrupt


@contextmanager
def stopped() -> Iterator[StoppedSession]:
    """Provide a session that is stopped."""
    yield StoppedSession()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text("telefon\n0555 000 00 01\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "the same command goes on where it was"), (("--dry-run",), "nothing was published")],
)
def test_stopped_import_says_how_it_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    """Exit code 130 alone leaves a person without it."""
    printed = io.StringIO()
    monkeypatch.setattr(output, "err", Console(file=printed, width=80))
    monkeypatch.setattr(command, "import_session", stopped)
    found = CliRunner().invoke(app, ["import", str(path), *options])
    assert found.exit_code == ExitCode.INTERRUPTED
    assert f"export.csv: stopped before its end; {said}" in " ".join(printed.getvalue().split())


def test_reversals_are_accepted_or_skipped(path: Path) -> None:
    """Both at once would leave open which is meant."""
    found = CliRunner().invoke(app, ["import", str(path), "--reversals", "3", "--skip-reversals"])
    assert found.exit_code == ExitCode.USAGE
    assert "give one of them" in " ".join(found.stderr.replace("│", "").split())
