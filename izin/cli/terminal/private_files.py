"""Files with recipients in full: their owner alone may read them, and they are whole or absent."""

import csv
import hashlib
import io
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO

from izin.consent import OurError, SourceError, visible


class CsvRows(Protocol):
    """Writes rows."""

    def writerow(self, row: Sequence[object], /) -> object:
        """Write one row."""


class VisibleRows:
    """Writes rows whose controls are written out."""

    def __init__(self, file: TextIO, *, delimiter: str = ",") -> None:
        self._csv = csv.writer(file, delimiter=delimiter)

    def writerow(self, row: Sequence[object]) -> None:
        """Write one row."""
        self._csv.writerow([visible(one) if isinstance(one, str) else one for one in row])


class UnwritableCsvError(OurError):
    """A file cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} cannot be written: {error.strerror}; choose another place")


class OtherFileError(SourceError):
    """What stands where a file is to be written is no earlier one of its kind."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists, and is no such list: name another file")


@contextmanager
def private_csv(path: Path, header: Sequence[str], *, for_excel: bool = False) -> Iterator[CsvRows]:
    """Provide what writes rows under ``header``; the file replaces ``path`` at the end, and on an
    error nothing is left. ``for_excel`` is as Excel in Turkey opens it: with a BOM, and ``;``.

    Raises:
        OtherFileError: a file with another header is there.
        UnwritableCsvError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    encoding = "utf-8-sig" if for_excel else "utf-8"
    try:
        check_place(path, header, for_excel=for_excel)
        part.unlink(missing_ok=True)
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding=encoding, newline="") as file:
            rows = VisibleRows(file, delimiter=_delimiter(for_excel))
            rows.writerow(header)
            yield rows
        part.replace(path)
    except OSError as error:
        raise UnwritableCsvError(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def check_place(path: Path, header: Sequence[str], *, for_excel: bool = False) -> None:
    """Check that :func:`private_csv` would replace at most an earlier file of its kind.

    Raises:
        OtherFileError: a file with another header is at ``path``.
        UnwritableCsvError: what is there cannot be read.
    """
    try:
        if path.exists() and not _begins_with(path, header, _delimiter(for_excel)):
            raise OtherFileError(path)
    except OSError as error:
        raise UnwritableCsvError(path, error) from error


def _delimiter(for_excel: bool) -> str:
    return ";" if for_excel else ","


def _begins_with(path: Path, header: Sequence[str], delimiter: str) -> bool:
    """Whether the file at ``path`` is empty, or begins with ``header``."""
    if not path.is_file():
        return False
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerow(header)
    expected = text.getvalue().encode()
    with path.open("rb") as file:
        found = file.read(len(BOM_UTF8) + len(expected)).removeprefix(BOM_UTF8)
    return not found or found.startswith(expected)


def new_file(path: Path) -> BinaryIO:
    """Open a file that must not exist.

    Raises:
        SourceError: it exists, or cannot be written.
    """
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error.strerror}; name a new file") from error


def write_new(path: Path, content: bytes) -> Path:
    """Write such a file; return ``path``. Raises as :func:`new_file`."""
    with new_file(path) as target:
        target.write(content)
    return path


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
