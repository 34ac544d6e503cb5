"""A table of recipients: read row by row, and written anew with more cells.

What is written has the format of what was read, the cells of each row in their order, and is there
whole or not at all.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from izin.consent import OurError, SourceError

C = TypeVar("C")
Cells = Sequence[str | None]
"""For each column of a table, and for those beyond: the text of a cell, or None to keep it."""


class UnusableFileError(SourceError):
    """A file that cannot be used for what it should be."""

    def __init__(self, path: Path, what: str, **values: object) -> None:
        super().__init__(what, **values)
        self.args = (f"{path.name}: {self}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """The result of the first pass over a file."""

    path: Path
    digest: str
    """SHA-256 of its bytes."""
    encoding: str
    """UTF-8, UTF-16, or Windows-1254, in which single lines may be UTF-8."""
    size: int
    modified_ns: int

    def check_unchanged(self) -> None:
        """Raise UnusableFileError where the file changed since then."""
        stat = self.path.stat()
        if (stat.st_size, stat.st_mtime_ns) != (self.size, self.modified_ns):
            what = "changed while it was read; read it again once its writer is done"
            raise UnusableFileError(self.path, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One row: the line it starts on, its fields, and the position in the file after it."""

    line: int
    fields: tuple[str, ...]
    position: int
    """How much of the file's ``size`` was read so far."""
    fault: str | None = None
    """Why the fields cannot be separated; then ``fields`` is the whole line."""
    values: tuple[object, ...] = ()
    """The cells as an Excel workbook has them; nothing for a text file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The names of the columns, and where they stand."""

    header_line: int
    """The line or row of the header; those above it are titles."""
    last_line: int
    """The same, unless a name has a line break."""
    headers: tuple[str, ...]
    """The names of the columns, as they stand there."""
    delimiter: str
    """What separates the cells of a line; nothing in a workbook."""


def without_empty_end(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``fields`` without empty ones at the end, which spreadsheets append."""
    while fields and not fields[-1].strip():
        fields = fields[:-1]
    return fields


class TableWriter(Protocol):
    """Writes rows of a table with other or more cells."""

    def write(self, row: FileRow, cells: Cells) -> None:
        """Write ``row`` with ``cells`` in place of its own where they are not None.

        A row that has more cells than the table has columns keeps those behind ``cells``.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Header, ABC):
    """A table in a file."""

    file: TextFile
    """The file, as it was when the table was opened."""
    size: int
    """What ``FileRow.position`` is at the end."""
    others: tuple[str, ...] = ()
    """The other visible sheets of a workbook that have rows, and hidden ones that have
    recipients."""
    hidden: tuple[str, ...] = ()
    """Its other hidden sheets that have rows: they are not read."""

    @abstractmethod
    def rows(self) -> Generator[FileRow, None, None]:
        """Yield each row; raises UnusableFileError if the file cannot be read to its end."""

    @abstractmethod
    def writer(self, path: Path, headers: Sequence[str]) -> AbstractContextManager[TableWriter]:
        """Return what writes rows of this table to a table at ``path`` with ``headers``.

        The file is there once the context is left without an error, and never in part.

        Raises:
            UnwritableTableError: it cannot be written.
        """


class UnwritableTableError(OurError):
    """A table cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} cannot be written: {error.strerror}; choose --out PATH")
        self.error = error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write, which replaces ``path`` at the end; on an error it is removed.

    Raises:
        UnwritableTableError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(path)
    except OSError as error:
        raise UnwritableTableError(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def merged(own: Sequence[C], cells: Cells, width: int, empty: C) -> list[C | str]:
    """Return the cells of a row of a table with ``width`` columns, with ``cells`` in their places.

    Where the row is too short it is filled with ``empty``; what it has beyond ``width`` comes
    behind ``cells``.
    """
    line = [*own[:width], *[empty] * (len(cells) - min(len(own), width))]
    found = [kept if given is None else given for given, kept in zip(cells, line, strict=True)]
    return [*found, *own[width:]]
