"""Text files as programs write them: encodings, delimiters, and what stands above the header.

Workbooks: what Excel keeps in cells, and what is not read without a word.
"""

import codecs
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path

import pytest
from openpyxl import Workbook

from izin.producers.files import (
    ColumnChoices,
    ColumnsError,
    FileRow,
    Table,
    UnusableFileError,
    open_table,
    workbook,
)
from izin.producers.mapping.columns import resolve

OF_PHONES = ("Telefon", "İzin Türü", "İzin Durumu", "Şehir")
ROW = ("0555 000 00 01", "SMS", "Hayır", "Iğdır")
CHOICES = ColumnChoices(ignored=("Şehir",))


def a_table(folder: Path, content: bytes) -> Table:
    path = folder / "export.csv"
    path.write_bytes(content)
    return open_table(path, CHOICES)


def lines(*rows: Sequence[str], delimiter: str = ";", end: str = "\r\n") -> str:
    return "".join(f"{delimiter.join(row)}{end}" for row in rows)


def fields(rows: Sequence[FileRow]) -> list[tuple[str, ...]]:
    assert all(one.fault is None for one in rows)
    return [one.fields for one in rows]


@pytest.mark.parametrize(
    ("encoding", "bom", "found"),
    [
        ("utf-8", b"", "utf-8-sig"),
        ("utf-8", codecs.BOM_UTF8, "utf-8-sig"),
        ("cp1254", b"", "cp1254"),
        ("cp1254", codecs.BOM_UTF8, "cp1254"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-16-le"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16-be"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("separator", ["", "sep=;\r\n"])
def test_encoding_is_found_with_or_without_a_bom(
    tmp_path: Path, encoding: str, bom: bytes, found: str, separator: str
):
    """Also a BOM of UTF-8 before Windows-1254, and with Excel's own line first."""
    table = a_table(tmp_path, bom + (separator + lines(OF_PHONES, ROW)).encode(encoding))
    assert (table.file.encoding, table.headers) == (found, OF_PHONES)
    rows = list(table.rows())
    assert fields(rows) == [ROW]
    assert (table.header_line, rows[0].line) == ((2, 3) if separator else (1, 2))
    assert rows[0].position <= table.size


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp1254"])
def test_table_is_written_in_its_own_encoding(tmp_path: Path, encoding: str):
    """With its BOM, its separator line and its line ends."""
    bom = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else codecs.BOM_UTF8
    content = bom + ("sep=;\r\n" + lines(OF_PHONES, ROW)).encode(encoding)
    table = a_table(tmp_path, content)
    target = tmp_path / "out.csv"
    with table.writer(target, table.headers) as writer:
        for row in table.rows():
            writer.write(row, [None] * len(OF_PHONES))
    assert target.read_bytes() == content


def test_uncertain_utf_16_is_not_guessed(tmp_path: Path):
    """A file with NULs at both places is no text."""
    with pytest.raises(UnusableFileError, match="binary data"):
        a_table(tmp_path, b"T\0e\0\0l\0;\0\0x" * 20)


def test_lone_surrogate_costs_its_character_only(tmp_path: Path):
    """As in any other encoding."""
    text = lines(OF_PHONES, (*ROW[:3], "I|")).encode("utf-16-le").replace(b"|\0", b"\x00\xd8")
    (row,) = a_table(tmp_path, codecs.BOM_UTF16_LE + text).rows()
    assert row.fields[3] == "I\ufffd"


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        *(("", one) for one in ("|", ";", ",", "\t")),
        *((one, "^") for one in ("sep=^\n", '"sep=^"\n', "SEP=^;;;\n")),
        ("sep=\n", ";"),
    ],
)
def test_delimiter_is_found_by_the_names(tmp_path: Path, first: str, delimiter: str):
    """Whichever gives the most known names, or what the first line says: also one that nobody would
    guess.
    """
    table = a_table(tmp_path, f"{first}{lines(OF_PHONES, ROW, delimiter=delimiter)}".encode())
    assert (table.delimiter, fields(list(table.rows()))) == (delimiter, [ROW])
    assert table.header_line == (2 if first else 1)


def test_header_is_the_first_line_that_is_not_empty(tmp_path: Path):
    """Lines keep their numbers."""
    text = "\n".join(
        ["", "   ", ";;;", lines(OF_PHONES, end=""), "", lines(ROW, end=""), ";;;", "\t"]
    )
    table = a_table(tmp_path, text.encode())
    rows = list(table.rows())
    assert (table.header_line, table.headers) == (4, OF_PHONES)
    assert [(one.line, one.fields) for one in rows] == [(6, ROW)]


def test_names_with_line_breaks_are_read(tmp_path: Path):
    """As Excel writes a wrapped cell."""
    header = '"İzin\nTürü";Telefon;"İzin ""Durumu""\n(son)"'
    table = a_table(tmp_path, f"{header}\r\nSMS;0555;RET\r\n".encode())
    assert table.headers == ("İzin\nTürü", "Telefon", 'İzin "Durumu"\n(son)')
    (row,) = table.rows()
    assert (table.header_line, row.line, row.fields) == (1, 4, ("SMS", "0555", "RET"))


@pytest.mark.parametrize("above", ["İZİN LİSTESİ", "Telefon", "0555 000 00 02;SMS;RET;Iğdır"])
@pytest.mark.parametrize("make", ["csv", "xlsx"])
def test_what_stands_above_the_names_is_never_left_out(tmp_path: Path, above: str, make: str):
    """It could be an opt-out: who knows better says which line names the columns."""
    content = ["", above, *lines(OF_PHONES, ROW, end="\n").splitlines()]
    path = tmp_path / f"export.{make}"
    if make == "csv":
        path.write_text("\n".join(content), "utf-8")
    else:
        book = Workbook()
        for line in content:
            book.active.append(line.split(";"))
        book.save(path)
    with pytest.raises(ColumnsError):
        resolve(open_table(path, CHOICES).headers, ColumnChoices())
    table = open_table(path, ColumnChoices(ignored=("Şehir",), header_row=3))
    assert (table.header_line, [one.line for one in table.rows()]) == (3, [4])


def test_header_row_is_where_the_caller_says(tmp_path: Path):
    """And where there is none it is an error."""
    path = tmp_path / "export.csv"
    path.write_text("x;y\n" * 40 + lines(OF_PHONES, ROW), "utf-8")
    table = open_table(path, ColumnChoices(header_row=41))
    assert (table.headers, [one.line for one in table.rows()]) == (OF_PHONES, [42])
    with pytest.raises(UnusableFileError, match="its line 50 is empty"):
        open_table(path, ColumnChoices(header_row=50))


NOTES = "Not;Telefon;Kanal;İzin"
LAST = "Telefon;Kanal;İzin;Not"


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (NOTES, '"Cad. 1; Kat 2; Daire 3; arka\nbina; B; sol; üst";0555;SMS;RET'),
        (NOTES, '"aradı\n\n; ; ; ;\nson";0555;SMS;RET'),
        (LAST, '0555;SMS;RET;"Cad. 1; Kat 2; Daire 3; arka\nbina; B; sol; üst; yan"'),
        (LAST, '0555;SMS;RET;"a, b\n""c""; d; e; f; g"'),
        (LAST, '0555;"S\nM\nS";RET;"' + "satır\n" * 150 + 'son"'),
        ("Telefon;Not;Kanal;İzin", '0555;"1; 2; 3; 4\n5; 6; 7; 8\n9; 10; 11";SMS;RET'),
    ],
)
def test_line_break_in_quotes_is_read(tmp_path: Path, header: str, row: str):
    """Whatever delimiters stand beside it; the row after it is a row, and has its own line."""
    path = tmp_path / "export.csv"
    plain = ";".join(["x"] * 4)
    path.write_text(f"{header}\n{row}\n{plain}\n", "utf-8")
    found = list(open_table(path, ColumnChoices()).rows())
    assert [one.fault for one in found] == [None, None]
    assert [len(one.fields) for one in found] == [4, 4]
    assert found[1].line == row.count("\n") + 3


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (NOTES, ['"5 inç;0555 000 00 01;SMS;RET', 'boru 5";0555 000 00 02;SMS;RET']),
        (NOTES, ['"5 inç;12;SMS;0', "x;0555 000 00 03;SMS;RET", 'boru 5";0555 000 00 02;SMS;RET']),
        (LAST, ['0555 000 00 01;SMS;RET;"5 inç', '0555 000 00 02;SMS;RET;boru 5"']),
        (LAST, ['0555 000 00 01;SMS;RET;"5 inç', "12;SMS;0;x", '12;SMS;0;boru 5"']),
        ("Telefon;Not;Kanal;İzin", ['05550000001;"5 inç;SMS;1', '05550000002;boru 5";SMS;1']),
        (LAST, ['0555 000 00 01;SMS;RET;"5 inç', *["0555 000 00 02;SMS;RET;x"] * 300]),
    ],
)
def test_quote_that_is_never_closed_swallows_no_row(tmp_path: Path, header: str, rows: list[str]):
    """Though another row has the other quote: each line with one is refused by its number."""
    path = tmp_path / "export.csv"
    path.write_text("\n".join((header, *rows)), "utf-8")
    found = list(open_table(path, ColumnChoices()).rows())
    assert [one.line for one in found] == list(range(2, len(rows) + 2))
    for one, row in zip(found, rows, strict=True):
        assert (one.fault is not None) or '"' not in row or row.endswith('"') or '5";' in row
    assert found[0].fault is not None


BOOK_HEADER = ("Telefon", "Kanal", "Durum", "Tarih")


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


def a_workbook(path: Path, *rows: Sequence[object]) -> Table:
    return open_table(a_book(path / "a.xlsx", rows), ColumnChoices())


def test_cells_are_read_as_the_sheet_shows_them(tmp_path: Path):
    """Numbers as digits, dates with their seconds, and truth values as words. A date at midnight
    has no time, whatever its format: the reader does not tell formats.
    """
    at = datetime(2026, 3, 2, 12, 0, 5)  # noqa: DTZ001  # a workbook's dates have no zone
    table = a_workbook(
        tmp_path,
        BOOK_HEADER,
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
    table = a_workbook(
        tmp_path, (" ",), (), BOOK_HEADER, row, (), (" ", None), (*row, None, ""), (*row, "x")
    )
    assert (table.header_line, table.size, table.delimiter) == (3, 8, "")
    assert [(one.line, one.fields, one.position) for one in table.rows()] == [
        (4, row, 4),
        (7, row, 7),
        (8, (*row, "x"), 8),
    ]


def test_table_is_read_as_often_as_asked(tmp_path: Path):
    """And ends with the file that it began with."""
    table = a_workbook(tmp_path, BOOK_HEADER, ("0555", "SMS", "RET", ""))
    assert [list(table.rows()) for _ in range(3)] == [list(table.rows())] * 3
    a_book(table.file.path, [BOOK_HEADER, BOOK_HEADER])
    with pytest.raises(UnusableFileError, match="changed while it was read"):
        list(table.rows())


def test_rows_in_other_sheets_are_not_passed_over(tmp_path: Path):
    """They could be the opt-outs; empty sheets, and hidden ones without recipients, are none of
    the table.
    """
    sheet = [BOOK_HEADER, ("0555", "SMS", "RET", "")]
    path = a_book(tmp_path / "a.xlsx", sheet, [], sheet, [("x",)], hidden=[3])
    with pytest.raises(UnusableFileError, match='also hidden ones: "Sayfa3"; save each'):
        open_table(path, ColumnChoices())
    assert len(list(open_table(path, ColumnChoices(), first_sheet=True).rows())) == 1
    hidden = a_book(tmp_path / "b.xlsx", [("x",)], sheet, hidden=[0])
    table = open_table(hidden, ColumnChoices())
    assert (table.headers, table.hidden) == (BOOK_HEADER, ("Sayfa1",))


@pytest.mark.parametrize(
    "rows",
    [[BOOK_HEADER], [("Kara liste",), ("0555 000 00 01",)], [("",), (5550000001,)], [("a@b.co",)]],
)
def test_hidden_sheet_with_recipients_is_not_passed_over(
    tmp_path: Path, rows: list[tuple[object, ...]]
):
    """Whoever imports the workbook may never have seen it."""
    path = a_book(tmp_path / "a.xlsx", [BOOK_HEADER, ("0555", "SMS", "RET", "")], rows, hidden=[1])
    with pytest.raises(UnusableFileError, match='also hidden ones: "Sayfa2"; save each'):
        open_table(path, ColumnChoices())


def test_workbook_without_a_header_is_refused(tmp_path: Path):
    """There is no table in it."""
    with pytest.raises(UnusableFileError, match="the first rows of its first sheet are empty"):
        a_workbook(tmp_path)


def test_damaged_workbook_names_its_remedy(tmp_path: Path):
    """Whatever the library makes of it."""
    path = a_book(tmp_path / "a.xlsx", [BOOK_HEADER])
    path.write_bytes(path.read_bytes().replace(b"xl/workbook.xml", b"xl/workbuch.xml"))
    with pytest.raises(UnusableFileError, match=r"damaged .*save the table again"):
        open_table(path, ColumnChoices())


def test_reader_of_a_table_left_unread_ends(tmp_path: Path):
    """With the table: no process stays behind."""
    rows = [BOOK_HEADER, *[("0555", "SMS", "RET", "x" * 200)] * 3000]
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
    table = a_workbook(tmp_path, BOOK_HEADER)
    with pytest.raises(
        UnusableFileError, match="MB of memory, or is damaged; save the table as CSV"
    ):
        list(table.rows())
