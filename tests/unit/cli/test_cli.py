"""The command line: help of every command, and errors that name place and remedy.

The files of a first loading share what is read of Kafka.
"""

import inspect
import re
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer
from typer.testing import CliRunner

from izin.cli.cli import WarningLogger, app
from izin.cli.customers.onboard import LoadingFiles
from izin.cli.up import ROWS, demo
from izin.producers.files import FindOptOuts, Import
from izin.producers.files.rows import NoOptOuts
from tests.support.builders import BRAND

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


def test_demo_imports_as_many_rows_as_help_and_readme_say() -> None:
    """The end-to-end tests import fewer."""
    assert inspect.signature(demo).parameters["rows"].default == ROWS
    for text in (demo.__doc__ or "", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert re.search(rf"[Ii]mports?\b.* {ROWS:,} ", text)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_help_has_a_sentence(words: tuple[str, ...]) -> None:
    """--help works, and has a sentence beside the list of options."""
    shown = RUNNER.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output) > 100
    printed = [line.strip() for line in shown.output.splitlines() if line.strip()]
    assert "Usage:" in printed[0]
    assert printed[1].endswith((".", ",")) or printed[1][0].isupper()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_help_paragraph_is_one_line(words: tuple[str, ...]) -> None:
    """A paragraph is one line, however it is broken in the source."""
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert "\n" not in command.help.replace("\n\n", "")


def test_publish_command_imports_only_what_it_needs() -> None:
    """`izin publish` loads no stream engine, no server and no registry client."""
    words = ["publish", "--help"]
    asked = f"import sys; from izin.cli.cli import app; app({words}, standalone_mode=False)"
    listing = "print(*sys.modules, sep='\\n')"
    ran = [sys.executable, "-c", f"{asked}; {listing}"]
    imported = subprocess.run(ran, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "izin.cli.publish" in imported
    others = {"izin.streams", "izin.sinks", "iys_simulator", "izin.local", "izin.stack", "faust"}
    assert others.isdisjoint(imported)
    assert {"httpx", "confluent_kafka.schema_registry"}.isdisjoint(imported)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/commands.md",
        "docs/intake.md",
        "docs/onboarding.md",
        "docs/runbook.md",
        "docs/sending.md",
    ],
)
def test_commands_named_in_docs_exist(page: str) -> None:
    """Each ``izin …`` that a page names is a command."""
    text = (ROOT / page).read_text("utf-8")
    known = {words[0] for words in COMMANDS}
    # A word with a dot behind it is the name of a file.
    named = re.findall(
        r"(?:^|`)izin ([a-z][a-z-]*)(?: ([a-z][a-z-]*)\b(?![.]))?", text, re.MULTILINE
    )
    assert named
    for command, word in named:
        assert command in known, command
        if not word and command in ALONE:
            continue
        if (command,) in COMMANDS and any(one[:1] == (command,) and one[1:] for one in COMMANDS):
            assert (command, word) in COMMANDS, f"{command} {word}"


def test_explain_without_database_url_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DATABASE_URL the ledger's commands report it, with exit code 4."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    shown = RUNNER.invoke(app, ["explain", "0555 000 00 01"])
    assert shown.exit_code == 4
    assert "DATABASE_URL" in shown.output


def test_deadlines_names_every_missing_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any group, all at once."""
    names = ("DATABASE_URL", "IYS_USERNAME", "IYS_PASSWORD")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    shown = RUNNER.invoke(app, ["deadlines", "show"])
    assert shown.exit_code == 4
    for name in names:
        assert f"{name} (missing)" in shown.output


def test_logs_of_a_command_begin_with_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """A lease that was taken is no news to a person."""
    log = structlog.wrap_logger(WarningLogger(sys.stderr))
    log.debug("looked")
    log.info("lease taken", work="rebuild")
    log.warning("pull failed")
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), "pull failed" in lines[0]) == (1, True)


PUBLISH = (
    "publish",
    "--type=MESAJ",
    "--status=RET",
    "--source=HS_WEB",
    "--recipient=0555 000 00 01",
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PUBLISH, "--brand", "-5"), "greater than or equal to 1"),
        (("up", "--port=intake=31888", "--port=sink=31888"), "intake and sink both have 31888"),
        *(
            (("up", "--port", text), "intake=8081")
            for text in ("intake", "intake=", "door=1", "intake=-1", "intake=65536")
        ),
    ],
)
def test_wrong_value_of_an_option_is_wrong_usage(words: tuple[str, ...], said: str) -> None:
    """The range, both parts or an example are named; nothing is started."""
    shown = RUNNER.invoke(app, words)
    assert shown.exit_code == 2
    assert said in " ".join(shown.output.replace("│", " ").split())


class Session:
    """Imports nothing, and notes for which brands the opt-outs were read."""

    def __init__(self) -> None:
        self.read: list[Collection[int]] = []
        self.given: list[object] = []

    def opt_outs(self, brands: Collection[int], begin: object) -> NoOptOuts:
        assert begin
        self.read.append(brands)
        return NoOptOuts()

    def run(self, path: Path, how: Import, begin: object, *, opt_outs: FindOptOuts) -> str:
        assert begin
        self.given.append(opt_outs([int(path.stem)]))
        return how.report_of(path).name


def test_standing_opt_outs_are_read_once_for_all_files(tmp_path: Path) -> None:
    """For every brand of the loading, whichever the first file has."""
    session: Any = Session()
    paths = [tmp_path / f"{BRAND + one}.csv" for one in range(3)]
    files = LoadingFiles(paths=paths, how=Import(), session=session)
    brands = [BRAND, BRAND + 1, BRAND + 2]
    done = files.read(Import(), tmp_path, brands=brands)
    assert list(done) == [f"{path.name}.report.csv" for path in paths]
    assert session.read == [brands]
    assert len(set(map(id, session.given))) == 1
