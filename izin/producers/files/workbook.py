"""A table in an Excel workbook: its first visible sheet, one row of which names the columns.

Values are read and written, not formats; of a formula the value that the sheet showed. It is read
by a process of its own, within bounds (:mod:`izin.producers.files.workbook_process`), and written
one row at a time.
"""

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from izin.producers.files.tables import (
    Cells,
    FileRow,
    Header,
    Table,
    TableWriter,
    TextFile,
    UnusableFileError,
    merged,
    whole_file,
    without_empty_end,
)
from izin.producers.mapping.cells import is_recipient
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.field_names import RECIPIENTS, field_of

_READER: Final = Path(__file__).with_name("workbook_process.py")
Batch = Sequence[Sequence[object]]
"""Some rows."""
_Sheets = tuple[str, int, list[str], list[tuple[str, Batch]]]
_MOST_MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of the process that reads a workbook: a million rows of ten columns take three quarters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkbookTable(Table):
    """The first visible sheet of a workbook."""

    title: str
    begun: list[Iterator[Batch]] = field(default_factory=list, repr=False)
    """What was read for the header, and what comes next: a large workbook is not opened twice."""

    def rows(self) -> Generator[FileRow, None, None]:
        """Yield each row behind the header that is not empty; the first of the sheet is row 1."""
        width = len(self.headers)
        batches = self.begun.pop() if self.begun else _begin(self.file.path)[1]
        for number, values in enumerate(chain.from_iterable(batches), 1):
            fields = tuple(map(_text, values))
            if number <= self.header_line or not any(map(str.strip, fields)):
                continue
            kept = len(fields) if any(fields[width:]) else width
            padding = width - len(fields)
            yield FileRow(
                line=number,
                fields=fields[:kept] + ("",) * padding,
                position=number,
                values=(*values[:kept], *(None,) * padding),
            )
        self.file.check_unchanged()

    @contextmanager
    def writer(self, path: Path, headers: Sequence[str]) -> Iterator[TableWriter]:
        """Return a writer of a workbook with one sheet."""
        from openpyxl import Workbook  # noqa: PLC0415  # slow to load, and seldom needed

        book = Workbook(write_only=True)
        rows = _SheetRows(book.create_sheet(self.title), len(self.headers))
        with whole_file(path) as stream:
            rows.append(headers)
            yield rows
            book.save(stream)


class _SheetRows:
    """Writes the rows of a sheet."""

    def __init__(self, sheet: Any, width: int) -> None:  # noqa: ANN401  # its module is not loaded
        self._sheet, self._width = sheet, width

    def write(self, row: FileRow, cells: Cells) -> None:
        """Write a row."""
        self.append(merged(row.values, cells, self._width, None))

    def append(self, values: Sequence[object]) -> None:
        """Write one row of ``values``."""
        self._sheet.append([self._cell(value) for value in values])

    def _cell(self, value: object) -> object:
        """Return ``value`` as the sheet takes it: a text that looks like a formula stays a text."""
        if not isinstance(value, str) or not value.startswith("="):
            return value
        from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415  # loaded with the sheet

        cell = WriteOnlyCell(self._sheet, value)
        cell.data_type = "s"
        return cell


def open_workbook(path: Path, choices: ColumnChoices) -> WorkbookTable:
    """Return the first visible sheet of the workbook at ``path``, whose columns have known names or
    those of ``choices``.

    Raises:
        UnusableFileError: it is no workbook, too large, or has no header.
    """
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stat = path.stat()
    (title, size, others, hidden), batches = _begin(path)
    first = next(batches, [])
    head = _header(first, choices.header_row)
    if head is None:
        if choices.header_row is None:
            what = "the first rows of its first sheet are empty; one must name the columns"
            raise UnusableFileError(path, what)
        what = "its row %(row)s is empty; one must name the columns"
        raise UnusableFileError(path, what, row=choices.header_row)
    with_recipients = tuple(name for name, rows in hidden if _has_recipients(rows))
    file = TextFile(
        path=path, digest=digest, encoding="xlsx", size=stat.st_size, modified_ns=stat.st_mtime_ns
    )
    return WorkbookTable(
        file=file,
        title=title,
        **asdict(head),
        size=size,
        others=(*others, *with_recipients),
        hidden=tuple(name for name, _ in hidden if name not in with_recipients),
        begun=[chain([first], batches)],
    )


def _header(rows: Batch, wanted: int | None) -> Header | None:
    """Return the first of ``rows`` that is not empty, or the one ``wanted``; None: it is empty."""
    for number, values in enumerate(rows, 1):
        fields = without_empty_end(tuple(map(_text, values)))
        if fields and wanted in {None, number}:
            return Header(header_line=number, last_line=number, headers=fields, delimiter="")
    return None


def _has_recipients(rows: Batch) -> bool:
    """Whether ``rows``, the first of a sheet, name a column of recipients, or have one."""
    cells = (_text(cell) for row in rows for cell in row)
    return any(field_of(one) in RECIPIENTS or is_recipient(one) for one in cells)


def _begin(path: Path) -> tuple[_Sheets, Iterator[Batch]]:
    """Return the name of the sheet, its number of rows, the names of the others that have any, and
    the hidden ones that have any with their first rows; and what yields the rows.

    Raises:
        UnusableFileError: it is no workbook, damaged, or too large; also while the rows are read.
    """
    values = _values(path)
    return next(values), values


def _values(path: Path) -> Iterator[Any]:
    """Yield what the process that reads the workbook writes, until it ends."""
    command = [sys.executable, "-P", str(_READER), str(path), str(_MOST_MEMORY)]
    with subprocess.Popen(  # noqa: S603  # our own script
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None  # noqa: S101  # a pipe was asked for
        try:
            while (value := pickle.load(process.stdout)) is not None:  # noqa: S301  # from our own process
                if isinstance(value, str):
                    what = (
                        "no Excel workbook, or damaged (%(why)s); save the table again, as .xlsx "
                        "or CSV"
                    )
                    raise UnusableFileError(path, what, why=value)
                yield value
        except (EOFError, pickle.UnpicklingError):
            raise UnusableFileError(
                path,
                "it takes over %(most)s MB of memory, or is damaged; save the table as CSV (UTF-8)",
                most=_MOST_MEMORY // 2**20,
            ) from None
        finally:
            process.kill()


def _text(value: object) -> str:
    return "" if value is None else str(value)
