"""CSV files with recipients in full: only their owner may read them, and they are whole or not
there.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from izin.consent.errors import OurError


class CsvRows(Protocol):
    """Writes rows."""

    def writerow(self, row: Sequence[object], /) -> object:
        """Write one row."""


class UnwritableCsvError(OurError):
    """A file cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} cannot be written: {error.strerror}; choose another place")


@contextmanager
def private_csv(path: Path, header: Sequence[str]) -> Iterator[CsvRows]:
    """Provide what writes rows under ``header``; the file replaces ``path`` at the end, and on an
    error nothing is left.

    Raises:
        UnwritableCsvError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(header)
            yield rows
        part.replace(path)
    except OSError as error:
        raise UnwritableCsvError(path, error) from error
    finally:
        part.unlink(missing_ok=True)
