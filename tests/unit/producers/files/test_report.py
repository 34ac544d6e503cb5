"""The report of an import: it has the file's own cells, and is imported once it is corrected.

A report replaces an earlier one, and no other file: least of all the one that is imported.
"""

import csv
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import openpyxl
import pytest

from izin.producers.files import ColumnChoices
from izin.producers.files.report import ReportPlaceError, RowOutcome
from izin.producers.files.table_formats import ADDED
from tests.support.builders import BRAND, EMAIL, PHONE
from tests.unit.producers.conftest import FakePublisher, ImportOf, cells_of, reported

HEADER = ("Kayıt No", "Alıcı", "Kanal", "Durum", "Kaynak", "Tarih", "Marka")
NUMBER = "0555 000 00 01"
DATE = "02.03.2026 12:00:00"
FORMULAS = (
    '=HYPERLINK("http://example.com")',
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
)
EXECUTABLE = re.compile(r"\s*[=+\-@\uff1d]|[\t\r\n]")


def a_row(ref: str, recipient: str, status: str = "ONAY", date: str = DATE) -> tuple[str, ...]:
    return ref, recipient, "SMS", status, "HS_WEB", date, str(BRAND)


ROWS = (
    a_row("A-1", NUMBER),
    a_row("A-2", "12"),
    a_row("A-3", "12", "RET"),
    a_row("A-4", NUMBER, "?"),
    a_row("A-5", NUMBER, "RET", "geçen hafta"),
)
ORDER = ["A-3", "A-4", "A-2", "A-5"]
"""As the report has them: the opt-out that was refused first."""


def write(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write a table in the format that the name says."""
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(list(row))
        for cell in chain(*book.active.iter_rows()):
            cell.data_type = "s"
        book.save(path)
    else:
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, delimiter=";").writerows(rows)
    return path


@pytest.fixture(params=["csv", "xlsx"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"export.{request.param}"


def test_report_has_the_cells_of_the_file_and_its_format(path: Path, import_of: ImportOf):
    """And behind them where the row is, what is wrong in two languages, and what became of it."""
    report = import_of(write(path, [HEADER, *ROWS]))
    assert report.report_path == path.with_name(f"{path.name}.report{path.suffix}")
    header, *rows = cells_of(report)
    assert header == [*HEADER, *ADDED]
    assert [row[0] for row in rows] == ORDER
    own = {row[0]: row for row in ROWS}
    assert [tuple(row[: len(HEADER)]) for row in rows] == [own[one] for one in ORDER]
    added = [dict(zip(ADDED, row[len(HEADER) :], strict=True)) for row in rows]
    assert [one["izin: satır/row"] for one in added] == ["4", "5", "3", "6"]
    assert [one["izin: sütun/column"] for one in added] == ["Alıcı", "Durum", "Alıcı", "Tarih"]
    assert [one["izin: kod/code"] for one in added] == ["H121", "H115", "H121", "H158"]
    assert all(one["izin: neden"] and one["izin: reason"] for one in added)
    assert [one["izin: sonuç/outcome"] for one in added] == [
        RowOutcome.OPT_OUT_NOT_IMPORTED,
        RowOutcome.UNCLEAR_NOT_IMPORTED,
        RowOutcome.NOT_IMPORTED,
        RowOutcome.PUBLISHED,
    ]


def test_corrected_report_is_imported(path: Path, import_of: ImportOf, fake: FakePublisher):
    """As it is: the columns that it has added are left out, and not added again."""
    header, *rows = cells_of(import_of(write(path, [HEADER, *ROWS])))
    fake.events.clear()
    for row in rows[:-1]:
        row[1:6] = [NUMBER, "SMS", "RET", "HS_WEB", DATE]
    report = import_of(write(path.with_name(f"corrected{path.suffix}"), [header, *rows]))
    assert (report.published, report.refused, report.not_registrable) == (4, 0, 1)
    assert [one.origin_ref for one in fake.events] == ORDER
    again, (last,) = cells_of(report)[0], cells_of(report)[1:]
    assert again == header
    assert last[0] == "A-5"
    assert last[len(HEADER)] == "5"


def test_no_cell_of_a_report_is_a_formula(path: Path, import_of: ImportOf):
    """However it begins, also in the header; what is read of it again is what it was."""
    rows = [a_row(one, "12") for one in FORMULAS]
    report = import_of(
        write(path, [("=Kayıt", *HEADER[1:]), *rows]),
        columns=ColumnChoices(mapped={"=Kayıt": "ref"}),
    )
    table = cells_of(report)
    assert not [cell for row in table for cell in row if EXECUTABLE.match(cell)]
    repaired = [[*row[:1], NUMBER, *row[2:]] for row in table[1:]]
    again = import_of(
        write(path, [table[0], *repaired]), columns=ColumnChoices(mapped={"=Kayıt": "ref"})
    )
    assert (again.published, again.refused) == (len(FORMULAS), 0)


@pytest.mark.parametrize("recipient", [f"+{PHONE[1:]}", "'05550000001", '="05550000001"'])
def test_recipient_of_a_report_is_read_as_it_was(
    tmp_path: Path, import_of: ImportOf, fake: FakePublisher, recipient: str
):
    """The apostrophe that protects a cell is no part of it."""
    path = write(tmp_path / "export.csv", [HEADER, a_row("A-1", recipient, "?")])
    header, row = cells_of(import_of(path))
    row[3] = "RET"
    import_of(write(tmp_path / "report.csv", [header, row]))
    assert [one.recipient for one in fake.events] == [PHONE]


def test_row_that_cannot_be_separated_is_whole_in_its_first_cell(
    tmp_path: Path, import_of: ImportOf
):
    """The other cells of it are empty, so that what is added stands in its columns."""
    path = tmp_path / "export.csv"
    path.write_text(
        "\n".join((";".join(HEADER), "A-1;12", ";".join(a_row("A-2", NUMBER)))), "utf-8"
    )
    _, row = cells_of(import_of(path))
    assert row[: len(HEADER)] == ["A-1;12", *[""] * (len(HEADER) - 1)]
    assert row[len(HEADER)] == "2"


def test_report_may_be_read_by_whoever_may_read_the_file(tmp_path: Path, import_of: ImportOf):
    """It quotes it."""
    path = write(tmp_path / "export.csv", [HEADER, a_row("A-1", EMAIL)])
    path.chmod(0o640)
    assert import_of(path).report_path.stat().st_mode & 0o777 == 0o640


TABLE = "kayıt no;telefon;kanal;durum;kaynak;tarih;marka"
LINES = (
    f"A-1;0555 000 00 01;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}",
    f"A-2;12;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}",
)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Write a file with an opt-out and a row that is refused."""
    export = tmp_path / "export.csv"
    export.write_text("\n".join((TABLE, *LINES)), "utf-8")
    return export


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("link", ["", "symlink_to", "hardlink_to"])
def test_report_never_replaces_the_file_that_is_imported(
    export: Path, import_of: ImportOf, link: str, dry_run: bool
):
    """By whatever name: its opt-outs would be lost with it."""
    before, report = export.read_bytes(), export
    if link:
        report = export.with_name("report.csv")
        getattr(report, link)(export)
    with pytest.raises(ReportPlaceError, match="the file that is imported"):
        import_of(export, report_path=report, dry_run=dry_run, resumable=True)
    assert (export.read_bytes(), report.read_bytes()) == (before, before)


@pytest.mark.parametrize("name", ["book.csv", "book.xlsx", "folder"])
def test_report_never_replaces_another_file(export: Path, import_of: ImportOf, name: str):
    """Such as another export."""
    other = export.with_name(name)
    if name == "folder":
        other.mkdir()
    else:
        other.write_bytes(export.read_bytes())
    with pytest.raises(ReportPlaceError, match="no report of an import"):
        import_of(export, report_path=other)
    assert name == "folder" or other.read_bytes() == export.read_bytes()


@pytest.mark.parametrize("name", ["report.csv", "report.xlsx"])
def test_report_replaces_an_earlier_one(export: Path, import_of: ImportOf, name: str):
    """And an empty file, as made by a program that names temporary ones."""
    report = export.with_name(name)
    report.touch()
    for _ in range(2):
        done = import_of(export, report_path=report)
        assert [one["kayıt no"] for one in reported(done)] == ["A-2"]


def test_report_replaces_one_that_a_spreadsheet_has_saved(export: Path, import_of: ImportOf):
    """As Unicode text."""
    report = export.with_name("report.csv")
    import_of(export, report_path=report)
    report.write_bytes(report.read_text("utf-8-sig").replace(";", "\t").encode("utf-16"))
    assert [one["kayıt no"] for one in reported(import_of(export, report_path=report))] == ["A-2"]
