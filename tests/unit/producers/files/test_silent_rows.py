"""Rows that say nothing are counted; those whose status cannot be read are refused."""

from pathlib import Path

import pytest
from openpyxl import Workbook

from izin.producers.files import ColumnChoices
from tests.support.builders import BRAND
from tests.unit.producers.conftest import ImportOf
from tests.unit.producers.fakes import FakePublisher

DATE = "02.03.2026 12:00:00"
GIVEN = ColumnChoices(given={"kaynak": "HS_WEB", "marka": str(BRAND)})
HEADER = ("Cep", "SMS izni", "Arama izni", "Tarih")


@pytest.mark.parametrize("empty", ["", "-", "NULL", " ", "null"])
def test_row_that_says_nothing_is_counted(import_lines: ImportOf, empty: str):
    """Nobody would know else why fewer were published than the file has rows."""
    rows = (HEADER, ("0555 000 00 01", empty, empty, DATE), ("0555 000 00 02", "1", empty, DATE))
    report = import_lines(*map(";".join, rows), columns=GIVEN)
    assert (report.rows, report.silent, report.published, report.refused) == (2, 1, 1, 0)


@pytest.mark.parametrize("error", ["#N/A", "#YOK", "#NAME?", "#REF!", "#DEĞER!", "=A1"])
def test_value_that_was_not_computed_is_a_status_that_cannot_be_read(
    import_lines: ImportOf, fake: FakePublisher, error: str
):
    """It could have been an opt-out: exit code 5."""
    rows = (HEADER, ("0555 000 00 01", error, "", DATE))
    report = import_lines(*map(";".join, rows), columns=GIVEN)
    assert (report.silent, report.refused_unclear, report.lost_opt_outs) == (0, 1, True)
    assert fake.events == []


@pytest.mark.parametrize("left", [0, 3])
def test_cell_of_a_workbook_without_its_value_cannot_be_read(
    tmp_path: Path, import_of: ImportOf, left: int
):
    """A formula that was never computed, and one that gives an error, wherever the table begins."""
    book = Workbook()
    sheet = book.worksheets[0]
    rows = (
        HEADER,
        ("0555 000 00 01", "=1+1", None, DATE),
        ("0555 000 00 02", "#N/A", "RET", DATE),
        ("0555 000 00 03", None, "#NAME?", DATE),
        ("0555 000 00 04", None, None, DATE),
    )
    for row, cells in enumerate(rows, 1):
        for column, value in enumerate(cells, left + 1):
            cell = sheet.cell(row, column, value)
            if str(value).startswith("#"):
                cell.data_type = "e"
    book.save(path := tmp_path / "customers.xlsx")
    report = import_of(path, columns=GIVEN)
    assert (report.rows, report.silent, report.opt_outs) == (4, 1, 1)
    assert (report.refused_unclear, report.reasons) == (3, {"H115": 3})
