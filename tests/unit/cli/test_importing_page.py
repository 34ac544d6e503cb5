"""docs/importing.md says what the command does: its example is imported, its tables are checked."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer.main
from rich.console import Console

from izin.cli.imports.command import import_
from izin.cli.imports.result import print_result
from izin.cli.terminal import ExitCode, OutputFormat, output
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.producers.files import ColumnChoices, Import, import_file, read_mapping
from izin.producers.files.choices import DATE_NAMES, GENERIC_NAMES, STATUS_NAMES, names_consent
from izin.producers.files.importer import CHECKPOINT_ROWS
from izin.producers.files.table_formats import ADDED
from izin.producers.mapping.field_names import FIELD_NAMES, GENERIC_STATUSES, NAME, Field, field_of
from izin.schemas.words import _spaced
from tests.unit.producers.fakes import FakePublisher

PAGE = (Path(__file__).parents[3] / "docs" / "importing.md").read_text("utf-8")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a terminal of 80 columns; the report has what the page says of it."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=printed, width=80))
    path = Path("export.csv")
    path.write_text(block("csv"), "utf-8")
    brands = BrandDirectory(
        [RegisteredBrand(brand_code=100001, iys_code=1, customer_id="acme", name="Example")]
    )
    clock: Callable[[], datetime] = lambda: NOW  # noqa: E731  # stands still
    done = import_file(path, FakePublisher(clock), brands, clock=clock, how=Import())
    print_result(done, OutputFormat.TABLE)
    seconds = re.compile(r"│ seconds .*")
    assert seconds.sub("", printed.getvalue()) == seconds.sub("", block("text"))
    assert done.report_path is not None
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
    brands = BrandDirectory(
        [RegisteredBrand(brand_code=100001, iys_code=1, customer_id="acme", name="Example")]
    )
    clock: Callable[[], datetime] = lambda: NOW  # noqa: E731  # stands still
    publisher = FakePublisher(clock)
    how = Import(columns=ColumnChoices(given=given))
    import_file(path, publisher, brands, clock=clock, how=how)
    assert [one.status for one in publisher.events] == ["RET"]
