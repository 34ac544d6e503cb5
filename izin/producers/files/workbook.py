"""A table in an Excel workbook: its first sheet, whose first row names the columns.

Values are read and written, not formats; of a formula the value that the sheet showed. Rows are
read and written one at a time. Only the texts that a workbook shares between cells are in memory.
"""

import hashlib
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile, ZipFile

from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils.exceptions import InvalidFileException

from izin.producers.files.delimited import FileRow, TextFile, UnusableFileError
from izin.producers.files.tables import Cells, TableWriter, merged, whole_file

_SHARED_TEXTS = "xl/sharedstrings.xml"
_MOST_SHARED = 128 * 1024 * 1024
"""Bytes of the texts in XML; as Python's texts they take about as much."""
_FAULTS = (
    *(InvalidFileException, BadZipFile, ParseError, zlib.error, EOFError),
    *(LookupError, ValueError, TypeError, AttributeError),
)
"""What openpyxl raises for what is no workbook, or is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkbookTable:
    """The first sheet of a workbook."""

    file: TextFile
    title: str
    headers: tuple[str, ...]
    header_line: int
    size: int
    """Its rows, as far as the workbook says."""
    delimiter: str = ""

    def rows(self) -> Iterator[FileRow]:
        """Yield each row that is not empty; the header is row 1."""
        width = len(self.headers)
        for number, values in enumerate(_sheet_rows(self.file.path), 1):
            fields = tuple(map(_text, values))
            if number == 1 or not any(fields):
                continue
            kept = len(fields) if any(fields[width:]) else width
            padding = width - len(fields)
            yield FileRow(
                line=number,
                fields=fields[:kept] + ("",) * padding,
                position=min(number, self.size),
                values=values[:kept] + (None,) * padding,
            )
        self.file.check_unchanged()

    @contextmanager
    def writer(self, path: Path, headers: Sequence[str]) -> Iterator[TableWriter]:
        """Return a writer of a workbook with one sheet."""
        book = Workbook(write_only=True)
        rows = _SheetRows(book, self.title, len(self.headers))
        with whole_file(path) as stream:
            rows.append(headers)
            yield rows
            book.save(stream)


class _SheetRows:
    """Writes the rows of a sheet."""

    def __init__(self, book: Workbook, title: str, width: int) -> None:
        self._sheet = book.create_sheet(title)
        self._width = width

    def write(self, row: FileRow, cells: Cells) -> None:
        """Write a row."""
        self.append(merged(row.values, cells, self._width, None))

    def append(self, values: Sequence[object]) -> None:
        """Write one row of ``values``."""
        self._sheet.append([self._cell(one) for one in values])

    def _cell(self, value: object) -> object:
        """Return ``value`` as the sheet takes it: a text that looks like a formula stays a text."""
        if not isinstance(value, str) or not value.startswith("="):
            return value
        cell = WriteOnlyCell(self._sheet, value)
        cell.data_type = "s"
        return cell


def open_workbook(path: Path) -> WorkbookTable:
    """Return the first sheet of the workbook at ``path``.

    Raises:
        UnusableFileError: it is no workbook, too large, or has no header.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stat = path.stat()
    title, size = _first_sheet(path)
    headers = tuple(map(_text, next(_sheet_rows(path), ())))
    while headers and not headers[-1]:
        headers = headers[:-1]
    if not headers:
        raise UnusableFileError(path, "row 1 of its first sheet is empty; it must name the columns")
    file = TextFile(
        path=path, digest=digest, encoding="xlsx", size=stat.st_size, modified_ns=stat.st_mtime_ns
    )
    return WorkbookTable(file=file, title=title, headers=headers, header_line=1, size=size)


def _first_sheet(path: Path) -> tuple[str, int]:
    """Return the name of the first sheet, and how many rows it says that it has."""
    with _sheet(path) as sheet:
        return sheet.title, sheet.max_row or 1


def _sheet_rows(path: Path) -> Iterator[tuple[object, ...]]:
    with _sheet(path) as sheet:
        sheet.reset_dimensions()  # some programs write wrong ones
        yield from sheet.iter_rows(values_only=True)


@contextmanager
def _sheet(path: Path) -> Iterator[Any]:  # a ReadOnlyWorksheet, whose stubs are wrong
    """Yield the first sheet; raises UnusableFileError for what is no workbook, also while it is
    read.
    """
    try:
        with path.open("rb") as stream:
            with ZipFile(stream) as archive:
                shared = sum(
                    one.file_size
                    for one in archive.infolist()
                    if one.filename.lower() == _SHARED_TEXTS
                )
            if shared > _MOST_SHARED:
                raise UnusableFileError(
                    path, "its texts do not fit into memory; save the table as CSV (UTF-8)"
                )
            with warnings.catch_warnings():
                # Of what is not read anyway, such as data validation.
                warnings.filterwarnings("ignore", module="openpyxl")
                with closing(load_workbook(stream, read_only=True, data_only=True)) as book:
                    yield book.worksheets[0]
    except _FAULTS as error:
        raise UnusableFileError(
            path,
            f"no Excel workbook, or damaged ({type(error).__name__}); save the table again, as "
            ".xlsx or CSV (UTF-8)",
        ) from error


def _text(value: object) -> str:
    """Return ``value`` as a text: of a whole number its digits, for it may be a phone number."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
