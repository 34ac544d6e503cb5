"""A table in a CSV file, and the same table written with more cells."""

import csv
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from izin.producers.files.columns import ColumnChoices, known_columns
from izin.producers.files.delimited import (
    SEPARATOR_LINE,
    FileRow,
    TextFile,
    examine,
    header,
    rows,
)
from izin.producers.files.tables import Cells, Table, TableWriter, merged, whole_file
from izin.producers.files.text_encoding import BOMS, UTF_8, is_utf_16
from izin.producers.files.text_lines import MAX_LINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What stands before the header, and what ends a line."""

    start: bytes
    """A BOM and Excel's ``sep=;``, as far as they are there."""
    line_end: str


def open_delimited(path: Path, choices: ColumnChoices) -> "DelimitedTable":
    """Return the table at ``path``, whose columns have known names or those of ``choices``.

    Raises:
        UnusableFileError: it is no table.
    """
    file = examine(path)
    head = header(file, lambda found: known_columns(found, choices), choices.header_row)
    return DelimitedTable(file=file, head=head, size=file.size, opening=_opening(file))


def _opening(file: TextFile) -> Opening:
    codec = file.encoding if is_utf_16(file.encoding) else "latin-1"
    with file.path.open("rb") as stream:
        raw = stream.read(MAX_LINE)
    bom = next((one for one in BOMS if raw.startswith(one)), b"")
    first, _, _ = raw.removeprefix(bom).decode(codec, "replace").partition("\n")
    start = f"{first}\n".encode(codec) if SEPARATOR_LINE.fullmatch(first.rstrip("\r")) else b""
    return Opening(start=bom + start, line_end="\r\n" if first.endswith("\r") else "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class DelimitedTable(Table):
    """A table in a CSV file."""

    opening: Opening

    def rows(self) -> Generator[FileRow, None, None]:
        """Yield each row."""
        return rows(self.file, self.head)

    @contextmanager
    def writer(self, path: Path, headers: Sequence[str]) -> Iterator[TableWriter]:
        """Return a writer of the same encoding, delimiter and line ends."""
        with whole_file(path) as stream:
            stream.write(self.opening.start)
            lines = _DelimitedLines(stream, self)
            lines.write_cells(headers)
            yield lines


class _DelimitedLines:
    """Writes the lines of a CSV file."""

    def __init__(self, stream: BinaryIO, table: DelimitedTable) -> None:
        self._width = len(table.headers)
        self._csv = csv.writer(
            _Encoder(stream, table.file.encoding),
            delimiter=table.delimiter,
            lineterminator=table.opening.line_end,
        )

    def write(self, row: FileRow, cells: Cells) -> None:
        """Write a row; the fields of one that cannot be separated are its whole line."""
        self.write_cells(merged(row.fields, cells, self._width, ""))

    def write_cells(self, cells: Sequence[str]) -> None:
        """Write one line."""
        self._csv.writerow(cells)


class _Encoder:
    """What a ``csv.writer`` writes to."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._encoding = "utf-8" if encoding == UTF_8 else encoding

    def write(self, line: str) -> None:
        """Write a line."""
        try:
            encoded = line.encode(self._encoding)
        except UnicodeEncodeError:
            # As it is read: in a file of another encoding single lines may be UTF-8.
            encoded = line.encode()
        self._stream.write(encoded)
