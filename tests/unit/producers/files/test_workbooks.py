"""Workbooks: what Excel keeps in cells, and what is not read without a word."""

from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path

import pytest
from openpyxl import Workbook

from izin.producers.files import ColumnChoices, Table, UnusableFileError, open_table, workbook

HEADER = ("Telefon", "Kanal", "Durum", "Tarih")


def a_book(path: Path, *sheets: Sequence[Sequence[object]], hidden: Sequence[int] = ()) -> Path:
    book = Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sayfa{number + 1}")
        for row in rows:
            sheet.append(list(row))
        sheet.sheet_state = "hidden" if number in hidden else "visible"
    book.save(path)
    return path


def a_table(path: Path, *rows: Sequence[object]) -> Table:
    return open_table(a_book(path / "a.xlsx", rows), ColumnChoices())


def test_cells_are_read_as_the_sheet_shows_them(tmp_path: Path):
    """Numbers as digits, dates with their seconds, and truth values as words. A date at midnight
    has no time, whatever its format: the reader does not tell formats.
    """
    at = datetime(2026, 3, 2, 12, 0, 5)  # noqa: DTZ001  # a workbook's dates have no zone
    table = a_table(
        tmp_path,
        HEADER,
        (5550000001, "SMS", True, at),
        (5550000001.0, "SMS", False, date(2026, 3, 2)),
        (5550000001, "SMS", False, datetime.combine(at, time())),
        (5550000001.5, "SMS", 1, time(12, 30)),
        ("0555", None, "=1+1", "02.03.2026"),
    )
    assert [one.fields for one in table.rows()] == [
        ("5550000001", "SMS", "True", "2026-03-02 12:00:05"),
        ("5550000001", "SMS", "False", "2026-03-02"),
        ("5550000001", "SMS", "False", "2026-03-02"),
        ("5550000001.5", "SMS", "1", "12:30:00"),
        ("0555", "", "#=?", "02.03.2026"),
    ]


def test_rows_have_the_numbers_of_the_sheet(tmp_path: Path):
    """Empty rows and what stands beside the table included."""
    row = ("0555", "SMS", "RET", "")
    table = a_table(
        tmp_path, (" ",), (), HEADER, row, (), (" ", None), (*row, None, ""), (*row, "x")
    )
    assert (table.header_line, table.size, table.delimiter) == (3, 8, "")
    assert [(one.line, one.fields, one.position) for one in table.rows()] == [
        (4, row, 4),
        (7, row, 7),
        (8, (*row, "x"), 8),
    ]


def test_table_is_read_as_often_as_asked(tmp_path: Path):
    """And ends with the file that it began with."""
    table = a_table(tmp_path, HEADER, ("0555", "SMS", "RET", ""))
    assert [list(table.rows()) for _ in range(3)] == [list(table.rows())] * 3
    a_book(table.file.path, [HEADER, HEADER])
    with pytest.raises(UnusableFileError, match="changed while it was read"):
        list(table.rows())


def test_rows_in_other_sheets_are_not_passed_over(tmp_path: Path):
    """They could be the opt-outs; empty sheets, and hidden ones without recipients, are none of
    the table.
    """
    sheet = [HEADER, ("0555", "SMS", "RET", "")]
    path = a_book(tmp_path / "a.xlsx", sheet, [], sheet, [("x",)], hidden=[3])
    with pytest.raises(UnusableFileError, match='also hidden ones: "Sayfa3"; save each'):
        open_table(path, ColumnChoices())
    assert len(list(open_table(path, ColumnChoices(), first_sheet=True).rows())) == 1
    hidden = a_book(tmp_path / "b.xlsx", [("x",)], sheet, hidden=[0])
    table = open_table(hidden, ColumnChoices())
    assert (table.headers, table.hidden) == (HEADER, ("Sayfa1",))


@pytest.mark.parametrize(
    "rows",
    [[HEADER], [("Kara liste",), ("0555 000 00 01",)], [("",), (5550000001,)], [("a@b.co",)]],
)
def test_hidden_sheet_with_recipients_is_not_passed_over(
    tmp_path: Path, rows: list[tuple[object, ...]]
):
    """Whoever imports the workbook may never have seen it."""
    path = a_book(tmp_path / "a.xlsx", [HEADER, ("0555", "SMS", "RET", "")], rows, hidden=[1])
    with pytest.raises(UnusableFileError, match='also hidden ones: "Sayfa2"; save each'):
        open_table(path, ColumnChoices())


def test_workbook_without_a_header_is_refused(tmp_path: Path):
    """There is no table in it."""
    with pytest.raises(UnusableFileError, match="the first rows of its first sheet are empty"):
        a_table(tmp_path)


def test_damaged_workbook_names_its_remedy(tmp_path: Path):
    """Whatever the library makes of it."""
    path = a_book(tmp_path / "a.xlsx", [HEADER])
    path.write_bytes(path.read_bytes().replace(b"xl/workbook.xml", b"xl/workbuch.xml"))
    with pytest.raises(UnusableFileError, match=r"damaged .*save the table again"):
        open_table(path, ColumnChoices())


def test_reader_of_a_table_left_unread_ends(tmp_path: Path):
    """With the table: no process stays behind."""
    rows = [HEADER, *[("0555", "SMS", "RET", "x" * 200)] * 3000]
    path = a_book(tmp_path / "a.xlsx", rows)
    before = children()
    table = open_table(path, ColumnChoices())
    assert len(children() - before) == 1
    begun = table.rows()
    next(begun)
    begun.close()
    del table, begun
    assert children() == before


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {one for task in tasks for one in task.read_text().split()}


def test_reader_that_ends_within_the_rows_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What was read before is not the whole table."""
    script = tmp_path / "reader.py"
    script.write_text(
        "import os, pickle, sys\n"
        "out = sys.stdout.buffer\n"
        'pickle.dump(("Sayfa1", 2, [], []), out)\n'
        'pickle.dump([["Telefon", "Kanal", "Durum"], ["0555", "SMS", "RET"]], out)\n'
        "out.flush()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setattr(workbook, "_READER", script)
    table = a_table(tmp_path, HEADER)
    with pytest.raises(
        UnusableFileError, match="MB of memory, or is damaged; save the table as CSV"
    ):
        list(table.rows())
