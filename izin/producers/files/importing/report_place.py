"""Where a report may be written: in a new file, or in place of a report, and never over the file
that is imported or another one.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final
from zipfile import BadZipFile, ZipFile, is_zipfile

from izin.consent.errors import SourceError
from izin.producers.files.importing.report import UnwritableReportError
from izin.producers.files.importing.report_formats import ADDED

_PIECE: Final = 1 << 16
_BEGINNING: Final = 256 * _PIECE
"""So much of a file is looked at: a header is at the beginning."""
_TITLES: Final = tuple(ADDED[2].encode(encoding) for encoding in ("ascii", "utf-16-le"))
"""A column that only reports have, also where a spreadsheet has saved one as Unicode text."""


class ReportPlaceError(SourceError):
    """What stands where the report would be written is not to be replaced by it."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"the report would replace {path}, {what}; choose another --report PATH")
        self.path = path


def check_place(report: Path, source: Path) -> None:
    """Check that a report at ``report`` replaces at most an earlier one.

    Raises:
        ReportPlaceError: the file ``source`` is there, which is imported, or another that is none.
        UnwritableReportError: what is there cannot be read.
    """
    try:
        if not report.exists():
            return
        if report.samefile(source):
            raise ReportPlaceError(report, "the file that is imported")
        if not report.is_file() or (report.stat().st_size and not _is_report(report)):
            raise ReportPlaceError(report, "which is no report of an import")
    except OSError as error:
        raise UnwritableReportError(report, error) from error


def _is_report(path: Path) -> bool:
    before = b""
    with ExitStack() as stack:
        for stream in _streams(path, stack):
            for _ in range(0, _BEGINNING, _PIECE):
                piece = stream.read(_PIECE)
                if any(title in before + piece for title in _TITLES):
                    return True
                before = piece
    return False


def _streams(path: Path, stack: ExitStack) -> Iterator[IO[bytes]]:
    """Yield what holds the cells of the table at ``path``: the file, or the parts of a workbook."""
    if not is_zipfile(path):
        yield stack.enter_context(path.open("rb"))
        return
    try:
        book = stack.enter_context(ZipFile(path))
        for name in book.namelist():
            if name.startswith("xl/") and name.endswith(".xml"):
                yield stack.enter_context(book.open(name))
    except BadZipFile:
        return
