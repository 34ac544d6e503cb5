"""What ``izin import`` says of one that went on, started over, stopped, or was done before."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.imports import command
from izin.cli.imports.result import print_result
from izin.cli.terminal import ExitCode, OutputFormat, output
from izin.producers.files import ImportReport, Start


def a_report(**changes: object) -> ImportReport:
    """Return the result of an import of ten rows."""
    counts = dict.fromkeys(
        ("refused_opt_outs", "refused_unclear", "repeated_headers", "without_recipient"), 0
    )
    more = dict.fromkeys(("opt_outs", "not_registrable", "past_term", "refused"), 0)
    fields = {
        **counts,
        **more,
        "path": Path("export.csv"),
        "digest": "0" * 64,
        "encoding": "utf-8-sig",
        "delimiter": ";",
        "header_line": 1,
        "rows": 10,
        "published": 10,
        "reasons": {},
        "report_path": None,
        "dry_run": False,
        "seconds": 0.0,
    }
    return ImportReport(**fields | changes)  # type: ignore[arg-type]  # as the test gives them


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Give what is printed on both."""
    found = io.StringIO()
    for name in ("out", "err"):
        monkeypatch.setattr(output, name, Console(file=found, width=80))
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "rows"),
        ({"resumed_after": 7}, "export.csv: gone on after row 7; the counts are of all rows"),
        (
            {"restarted_because": Start.FILE_CHANGED, "resumed_after": 0},
            "imported from its beginning: the file is not the one whose import had stopped",
        ),
        ({"restarted_because": Start.OPTIONS_CHANGED}, "the options are not those of"),
        ({"restarted_because": Start.REPORT_LOST}, "the report's rows up to where"),
        (
            {"finished_before": datetime(2026, 3, 2, 9, tzinfo=UTC)},
            "imported to its end at 02.03.2026 12:00:00: nothing was published now",
        ),
        ({"reversals": 3}, "ONAY among them, given back: each reverses an opt-out"),
        (
            {"refused_reversals": 3, "reversals_path": Path("a.csv")},
            "left out 3 ONAY among them would reverse an opt-out.",
        ),
        ({"silent": 2}, "say nothing 2 rows without a status"),
        ({"without_recipient": 2}, "opt-outs of a channel for which the row has no address"),
        ({"not_registrable": 1}, "to be corrected 1 opt-outs among them: else İYS gets them as"),
        ({"hidden_sheets": ("Ret",)}, 'left out: hidden sheets that have rows: "Ret". If consents'),
        ({"reasons": {"H121": 2, "H158": 1}}, "refused 0 reasons H121 2, H158 1 changes"),
        ({"reasons": {"H115": 2}}, "words that are not known are given a meaning: --value WORD="),
        ({"repeated_headers": 1}, "lines with the header once more"),
    ],
)
def test_result_says_what_happened(
    printed: io.StringIO, changes: dict[str, object], said: str
) -> None:
    """Beside the counts, and nothing else of the kind."""
    print_result(a_report(**changes), OutputFormat.TABLE)
    text = " ".join(printed.getvalue().replace("│", " ").split())
    assert " ".join(said.split()) in text
    assert ("export.csv was" in text or "export.csv:" in text) == bool(
        changes.keys() & {"resumed_after", "restarted_because", "finished_before"}
    )


class StoppedSession:
    """A session in which Ctrl-C comes while a file is imported."""

    def run(self, *_: object, **_named: object) -> NoReturn:
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
    path: Path,
    printed: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    said: str,
) -> None:
    """Exit code 130 alone leaves a person without it."""
    monkeypatch.setattr(command, "import_session", stopped)
    found = CliRunner().invoke(app, ["import", str(path), *options])
    assert found.exit_code == ExitCode.INTERRUPTED
    assert f"export.csv: stopped before its end; {said}" in " ".join(printed.getvalue().split())


def test_reversals_are_a_file_that_somebody_gives_back(path: Path) -> None:
    """Anything else would be guessed."""
    found = CliRunner().invoke(app, ["import", str(path), "--reversals", "3"])
    assert found.exit_code == ExitCode.USAGE
    assert "'3' does not exist" in " ".join(found.stderr.replace("│", "").split())
    found = CliRunner().invoke(app, ["import", str(path), "--reversals", str(path), "--by", ""])
    assert "say who gives them back" in " ".join(found.stderr.replace("│", "").split())
