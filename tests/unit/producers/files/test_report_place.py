"""A report replaces an earlier one, and no other file: least of all the one that is imported."""

from pathlib import Path

import pytest

from izin.producers.files.report import ReportPlaceError
from tests.support.builders import BRAND
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.files.reports import reported

HEADER = "kayıt no;telefon;kanal;durum;kaynak;tarih;marka"
ROWS = (
    f"A-1;0555 000 00 01;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}",
    f"A-2;12;SMS;RET;HS_WEB;02.03.2026 12:00:00;{BRAND}",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Write a file with an opt-out and a row that is refused."""
    path = tmp_path / "export.csv"
    path.write_text("\n".join((HEADER, *ROWS)), "utf-8")
    return path


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("link", ["", "symlink_to", "hardlink_to"])
def test_report_never_replaces_the_file_that_is_imported(
    path: Path, import_of: ImportOf, link: str, dry_run: bool
):
    """By whatever name: its opt-outs would be lost with it."""
    before, report = path.read_bytes(), path
    if link:
        report = path.with_name("report.csv")
        getattr(report, link)(path)
    with pytest.raises(ReportPlaceError, match="the file that is imported"):
        import_of(path, report_path=report, dry_run=dry_run, resumable=True)
    assert (path.read_bytes(), report.read_bytes()) == (before, before)


@pytest.mark.parametrize("name", ["book.csv", "book.xlsx", "folder"])
def test_report_never_replaces_another_file(path: Path, import_of: ImportOf, name: str):
    """Such as another export."""
    other = path.with_name(name)
    if name == "folder":
        other.mkdir()
    else:
        other.write_bytes(path.read_bytes())
    with pytest.raises(ReportPlaceError, match="no report of an import"):
        import_of(path, report_path=other)
    assert name == "folder" or other.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["report.csv", "report.xlsx"])
def test_report_replaces_an_earlier_one(path: Path, import_of: ImportOf, name: str):
    """And an empty file, as made by a program that names temporary ones."""
    report = path.with_name(name)
    report.touch()
    for _ in range(2):
        done = import_of(path, report_path=report)
        assert [one["kayıt no"] for one in reported(done)] == ["A-2"]


def test_report_replaces_one_that_a_spreadsheet_has_saved(path: Path, import_of: ImportOf):
    """As Unicode text."""
    report = path.with_name("report.csv")
    import_of(path, report_path=report)
    report.write_bytes(report.read_text("utf-8-sig").replace(";", "\t").encode("utf-16"))
    assert [one["kayıt no"] for one in reported(import_of(path, report_path=report))] == ["A-2"]
