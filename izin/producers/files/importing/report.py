"""The report of an import: every row that needs correction, with place, reason and outcome.

It has the columns of the imported file and the cells of each such row as they stand there, and
behind them :data:`ADDED`: where the row is, what is wrong in Turkish and English, and what became
of it. So a row is corrected in the report itself, and the report is imported: an import leaves the
added columns out. Refused opt-outs come first, then refused rows that may be opt-outs, then the
others. It quotes the imported file, so whoever may read that may read it.

Rows are collected in a file beside the report, which survives the process: an import that goes on
where another one stopped goes on with its rows.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final, NamedTuple, Self

from izin.consent.errors import OurError, SourceError
from izin.consent.model import Status
from izin.consent.violations import Violation
from izin.producers.files.cells import cell_text
from izin.producers.files.delimited import FileRow
from izin.producers.files.importing.report_formats import ADDED, LONGEST_VALUE, write_report
from izin.producers.files.tables import UnwritableTableError
from izin.producers.mapping.field_names import status_of

_BETWEEN: Final = " | "
"""Between several reasons of one row."""
_DELIMITERS: Final = re.compile(r"[;,\t\n]")


class RowOutcome(StrEnum):
    """The outcome of a reported row, in the order of the report."""

    OPT_OUT_NOT_IMPORTED = "RET, alınmadı/opt-out, not imported"
    UNCLEAR_NOT_IMPORTED = "alınmadı, RET olabilir/not imported, may be an opt-out"
    NOT_IMPORTED = "alınmadı/not imported"
    REVERSAL = "alınmadı, RET'i geri alırdı/not imported, would reverse an opt-out"
    PUBLISHED = (
        "yayımlandı, düzeltilmezse İYS'ye HS_KARAR olarak ya da alındığı anla bildirilir/"
        "published, unless corrected İYS gets it as HS_KARAR or with the time of the import"
    )
    WOULD_BE_PUBLISHED = (
        "deneme, yayımlanmadı: içe aktarılınca yayımlanır/dry run, not published: the import "
        "would publish it"
    )


_OUTCOMES: Final = tuple(RowOutcome)


class RowFault(NamedTuple):
    """What is wrong with a row, and what became of what it says."""

    column: str
    """The header of the column at fault."""
    violation: Violation
    outcome: RowOutcome
    event_id: str = ""
    """Of an event that a person may give back."""


def refusal(status: str) -> RowOutcome:
    """Return the outcome of a refused row with ``status``."""
    match status:
        case Status.RET:
            return RowOutcome.OPT_OUT_NOT_IMPORTED
        case Status.ONAY:
            return RowOutcome.NOT_IMPORTED
        case _:
            return RowOutcome.UNCLEAR_NOT_IMPORTED


def inseparable(fields: Sequence[str]) -> RowOutcome:
    """Return the outcome of a row whose fields cannot be assigned to columns.

    One word for RET in it makes it an opt-out; a flag (``0``, ``H``) could mean anything there.
    """
    parts = (cell_text(part) for one in fields for part in _DELIMITERS.split(one))
    said = any(len(part) > 1 and status_of(part) == Status.RET for part in parts)
    return refusal(Status.RET if said else "")


class UnwritableReportError(OurError):
    """The report, or what an import notes beside it, cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"the report {path} cannot be written: {error.strerror}; choose --report PATH"
        )
        self.path = path


class ImportRunningError(SourceError):
    """Another import with the same report is running."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"another import writes the report {path}; wait for its end, or choose --report PATH"
        )


class ReportRows:
    """The rows of a report while its import runs.

    With ``is_kept`` they are in a file that survives the process, and which no other import may use
    meanwhile.
    """

    def __init__(self, path: Path, headers: Sequence[str], *, is_kept: bool) -> None:
        self._path = path
        self._width = len(headers)
        # Where the imported file is a report itself, its reasons are not those of this import.
        self._places = [place for place, one in enumerate(headers) if one not in ADDED]
        self._headers = [headers[place] for place in self._places]
        self._kept = path.with_name(f".{path.name}.rows") if is_kept else None
        self._file: BinaryIO
        self.is_needed = False
        """Whether the file survives the end of the context: a journal counts on it."""

    def __enter__(self) -> Self:
        try:
            self._file = self._opened()
        except OSError as error:
            raise UnwritableReportError(self._path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept is not None and not self.is_needed:
            self._kept.unlink(missing_ok=True)
        self._file.close()

    def _opened(self) -> BinaryIO:
        if self._kept is None:
            return TemporaryFile("w+b", dir=self._path.parent)
        while True:
            number = os.open(self._kept, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(number)
                raise ImportRunningError(self._path) from None
            if os.fstat(number).st_nlink:
                return os.fdopen(number, "r+b")
            os.close(number)  # whoever had locked it has removed it meanwhile

    @property
    def size(self) -> int:
        """How many bytes of an earlier import's rows are there."""
        return os.fstat(self._file.fileno()).st_size

    def begin(self, size: int) -> None:
        """Go on behind the first ``size`` bytes; what comes after them is dropped."""
        self._file.truncate(size)
        self._file.seek(size)

    def add(self, row: FileRow, faults: Sequence[RowFault]) -> None:
        """Add a row with all that is wrong with it."""
        first = min(faults, key=lambda one: _OUTCOMES.index(one.outcome))
        added = (
            str(row.line),
            ", ".join(dict.fromkeys(one.column for one in faults if one.column)),
            ", ".join(dict.fromkeys(one.violation.code for one in faults)),
            _joined(one.violation.reason_tr for one in faults),
            _joined(one.violation.reason for one in faults),
            first.outcome,
            ", ".join(dict.fromkeys(one.event_id for one in faults if one.event_id)),
        )
        cells = [one[:LONGEST_VALUE] for one in (*self._own_cells(row), *added)]
        line = json.dumps([_OUTCOMES.index(first.outcome), *cells])
        try:
            self._file.write(line.encode() + b"\n")
        except OSError as error:
            raise UnwritableReportError(self._path, error) from error

    def sync(self) -> int:
        """Have all rows on the disk; return how many bytes they are."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UnwritableReportError(self._path, error) from error
        return self._file.tell()

    def complete(self, mode: int) -> Path | None:
        """Write the report, with the access rights ``mode``, and return where it is; without rows
        there is none, and an earlier one is removed.
        """
        try:
            if not self.sync():
                self._path.unlink(missing_ok=True)
                return None
            headers = (*self._headers, *ADDED)
            write_report(self._path, headers, self._sorted(), mode=mode)
            if next(self._reversals(), None) is not None:
                write_report(reversals_beside(self._path), headers, self._reversals(), mode=mode)
        except UnwritableTableError as error:
            raise UnwritableReportError(self._path, error.error) from error
        except OSError as error:
            raise UnwritableReportError(self._path, error) from error
        return self._path

    def _own_cells(self, row: FileRow) -> list[str]:
        """Return the cells of ``row``, one for each column of the file; where they cannot be
        separated the first has all of them.
        """
        if row.fault is None and len(row.fields) == self._width:
            return [row.fields[place] for place in self._places]
        # A line of delimiters alone has as many fields as characters.
        whole = ";".join(islice(row.fields, LONGEST_VALUE))
        return [whole, *[""] * (len(self._places) - 1)]

    def _sorted(self) -> Iterator[Sequence[str]]:
        """Yield the rows outcome by outcome; the file is read once for each."""
        for number in range(len(_OUTCOMES)):
            start = f"[{number},".encode()
            self._file.seek(0)
            for line in self._file:
                if line.startswith(start):
                    yield json.loads(line)[1:]

    def _reversals(self) -> Iterator[Sequence[str]]:
        return (one for one in self._sorted() if one[-1])


def reversals_beside(report: Path) -> Path:
    """Return where the list of reversals is of an import with this ``report``."""
    return report.with_name(f"{report.stem}.reversals{report.suffix}")


def _joined(reasons: Iterable[str]) -> str:
    """Return ``reasons`` in one cell, without the delimiter: where a cell before spans lines, a
    line with as many delimiters as a row has would pass for a row.
    """
    return _BETWEEN.join(dict.fromkeys(reasons)).replace(";", ",")
