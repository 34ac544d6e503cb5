"""docs/importing.md says what the command does: its example is imported, its tables are checked.

What ``izin import`` says of one that went on, started over, stopped, or was done before.
"""

import csv
import io
import re
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer.main
from rich.console import Console
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.imports import command
from izin.cli.imports.command import import_
from izin.cli.imports.result import print_result
from izin.cli.terminal import ExitCode, OutputFormat, output
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import (
    ColumnChoices,
    Import,
    ImportReport,
    Start,
    import_file,
    read_mapping,
)
from izin.producers.files.choices import DATE_NAMES, GENERIC_NAMES, STATUS_NAMES, names_consent
from izin.producers.files.importer import CHECKPOINT_ROWS
from izin.producers.files.table_formats import ADDED
from izin.producers.mapping.field_names import FIELD_NAMES, GENERIC_STATUSES, NAME, Field, field_of
from izin.schemas.words import _spaced
from tests.unit.producers.conftest import FakePublisher

PAGE = (Path(__file__).parents[3] / "docs" / "importing.md").read_text("utf-8")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BRANDS = BrandDirectory(
    [RegisteredBrand(brand_code=100001, iys_code=1, customer_id="acme", name="Example")]
)
EVERYWHERE = {"--output", "--help", "--install-completion", "--show-completion"}


def first_cells(heading: str) -> list[str]:
    """Return the first cell of each row of the table below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?:^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [line.split("|")[1].strip(" `") for line in lines]


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_example_of_the_page_gives_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: io.StringIO
) -> None:
    """In a terminal of 80 columns; the report has what the page says of it."""
    monkeypatch.chdir(tmp_path)
    path = Path("export.csv")
    path.write_text(block("csv"), "utf-8")
    done = import_file(path, FakePublisher(lambda: NOW), BRANDS, clock=lambda: NOW, how=Import())
    print_result(done, OutputFormat.TABLE)
    seconds = re.compile(r"│ seconds .*")
    assert seconds.sub("", printed.getvalue()) == seconds.sub("", block("text"))
    with done.report_path.open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream, delimiter=";")
    assert header == [*block("csv").splitlines()[0].split(";"), *ADDED]
    assert [row[0] for row in rows] == ["A-3", "A-2"]


def test_page_has_every_option_of_the_command() -> None:
    """And no other."""
    alone = typer.Typer()
    alone.command()(import_)
    params = typer.main.get_command(alone).params
    names = {name for one in params for name in one.opts if name.startswith("--")}
    assert {one.split()[0] for one in first_cells("Options")} == names - EVERYWHERE


def test_page_has_the_columns_codes_and_limits_of_the_import() -> None:
    """As the code has them."""
    assert tuple(first_cells("The report")) == ADDED
    codes = {int(one) for one in first_cells("Exit codes")}
    assert codes == set(ExitCode) - {ExitCode.USAGE, ExitCode.NOT_VERIFIED}
    assert f"{CHECKPOINT_ROWS:,} rows" in PAGE


def cells_of(name: str) -> list[str]:
    """Return what stands in backquotes in the row of that name of the page's lists."""
    (line,) = re.findall(rf"^\| {name} \|(.*)$", PAGE, re.MULTILINE)
    return re.findall("`(.+?)`", line)


def test_page_has_every_name_of_a_status() -> None:
    """Of a consent, of any status, and of the date of one channel's consents."""
    consents = cells_of("of a consent")
    wide = set(STATUS_NAMES)
    assert wide <= set(consents)
    narrow = [one for one in consents if one not in wide or field_of(one) is Field.STATUS]
    assert all(names_consent(one) for one in narrow)
    known = [word for word, held in FIELD_NAMES.spelled.items() if held == Field.STATUS]
    generic = [one for one in cells_of("of any status") if one in known]
    assert set(GENERIC_STATUSES) == set(generic)
    assert {_spaced(one, NAME) for one in (*narrow, *generic)} == set(known)
    assert set(GENERIC_NAMES) <= set(cells_of("of any status"))
    assert cells_of("of a channel's date") == list(DATE_NAMES)


def test_mapping_of_the_page_is_read(tmp_path: Path) -> None:
    """As its comments say."""
    path = tmp_path / "crm.toml"
    path.write_text(block("toml"), "utf-8")
    found = read_mapping(path)
    assert found.given == {"marka": "100001"}
    assert found.values["status:Pasif"] == "RET"


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ("\n;;;;\ntelefon;kanal;durum;tarih;marka\n{};SMS;iptal;;100001", {}),
        ("telefon\n{}", {"durum": "RET", "kanal": "SMS", "marka": "100001"}),
        ("telefon;SMS izni;marka\n{};vazgeçti;100001", {}),
        ("sep=|\ntelefon|kanal|durum|marka\n{}|SMS|yok|100001", {}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1254"])
def test_shapes_of_the_page_are_read(
    tmp_path: Path, content: str, given: dict[str, str], encoding: str
) -> None:
    """Each with an opt-out."""
    path = tmp_path / "export.csv"
    path.write_bytes(content.format("0555 000 00 01").encode(encoding))
    publisher = FakePublisher(lambda: NOW)
    how = Import(columns=ColumnChoices(given=given))
    import_file(path, publisher, BRANDS, clock=lambda: NOW, how=how)
    assert [one.status for one in publisher.events] == ["RET"]


def a_report(**changes: object) -> ImportReport:
    """Return the result of an import of ten rows."""
    counts = dict.fromkeys(
        (
            *("refused_opt_outs", "refused_unclear", "repeated_headers", "without_recipient"),
            *("opt_outs", "not_registrable", "past_term", "refused"),
        ),
        0,
    )
    fields = {
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
    return ImportReport(**counts | fields | changes)  # type: ignore[arg-type]  # as the test gives them


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
    stopped = Mock(**{"run.side_effect": KeyboardInterrupt})
    monkeypatch.setattr(command, "import_session", lambda: nullcontext(stopped))
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
