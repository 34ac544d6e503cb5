"""The result of an import: its counts, and the report of every row that needs correction.

A report has the columns of the imported file and the cells of each such row as they stand there,
and behind them :data:`ADDED`: where the row is, what is wrong in Turkish and English, and what
became of it. So a row is corrected in the report itself, and the report is imported: an import
leaves the added columns out. Refused opt-outs come first, then refused rows that may be opt-outs,
then the others. It quotes the imported file, so whoever may read that may read it. It may replace
an earlier report, and never the file that is imported or another one.

Rows are collected in a file beside the report, which survives the process: an import that goes on
where another one stopped goes on with its rows.
"""

import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, BinaryIO, Final, NamedTuple, Self
from zipfile import BadZipFile, ZipFile, is_zipfile

from izin.consent import OurError, SourceError, Status, Violation
from izin.producers.files.table_formats import ADDED, LONGEST_VALUE, write_report
from izin.producers.files.tables import FileRow, UnwritableTableError
from izin.producers.mapping.cells import cell_text
from izin.schemas.words import status_of

BETWEEN: Final = " | "
"""Between several reasons of one row."""
_DELIMITERS: Final = re.compile(r"[;,\t\n]")
_BEGINNING: Final = 1 << 24
"""So much of a file is looked at: a header is at the beginning."""
_TITLES: Final = tuple(ADDED[2].encode(encoding) for encoding in ("ascii", "utf-16-le"))
"""A column that only reports have, also where a spreadsheet has saved one as Unicode text."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What an import has counted so far; see :class:`ImportReport`."""

    rows: int = 0
    published: int = 0
    opt_outs: int = 0
    not_registrable: int = 0
    past_term: int = 0
    reversals: int = 0
    repeated_headers: int = 0
    without_recipient: int = 0
    silent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By outcome."""
    reasons: Counter[str] = field(default_factory=Counter)
    """By code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The result of an import."""

    path: Path
    digest: str
    refused_opt_outs: int
    """Opt-outs (RET) among the refused rows: recipients who said no, and of whom nobody knows."""
    refused_unclear: int
    """Refused rows whose status cannot be read: opt-outs may be among them."""
    encoding: str
    delimiter: str
    """Nothing for a workbook."""
    header_line: int
    """The line, or row, of the header; those above it are titles."""
    hidden_sheets: tuple[str, ...] = ()
    """Hidden sheets of the workbook that have rows, and were left out."""
    repeated_headers: int
    """Lines that are the header once more; no rows."""
    without_recipient: int
    """Opt-outs of one channel in rows that have no address for it: they concern nobody. Only where
    the file has a column a channel.
    """
    silent: int = 0
    """Rows that say nothing of any channel. Only where the file has a column a channel."""
    rows: int
    published: int
    """Events acknowledged by the broker; in a dry run, those to be published."""
    opt_outs: int
    """The opt-outs (RET) among them."""
    not_registrable: int
    """Opt-outs that were published and reported: İYS would not register them as they stand."""
    past_term: int
    """Opt-ins (ONAY) published after their term: void unless İYS holds them already."""
    refused: int
    """Rows that were not published."""
    reversals: int = 0
    """Opt-ins (ONAY) published though they reverse an opt-out (RET) that stood: a person has given
    them back."""
    refused_reversals: int = 0
    """Opt-ins that were not published because they would reverse one."""
    reversals_path: Path | None = None
    """The list of those, to be looked through and given back."""
    reasons: Mapping[str, int]
    """How often each code was reported."""
    report_path: Path | None
    """The report file; None if there was nothing to report."""
    dry_run: bool
    seconds: float
    resumed_after: int = 0
    """The line or row up to which an earlier run of this import had everything acknowledged, or
    every opt-out, which go first."""
    restarted_because: str | None = None
    """Why an import that had stopped, or ended, was started over: ``file-changed``,
    ``options-changed`` or ``report-lost``."""
    finished_before: datetime | None = None
    """When this file was imported already: then nothing was published now, and all counts are of
    that import."""

    @property
    def lost_opt_outs(self) -> bool:
        """Whether an opt-out was refused, or may have been."""
        return bool(self.refused_opt_outs or self.refused_unclear)


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
            ", ".join(dict.fromkeys(fault.column for fault in faults if fault.column)),
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
    return BETWEEN.join(dict.fromkeys(reasons)).replace(";", ",")


class ReportPlaceError(SourceError):
    """What stands where the report would be written is not to be replaced by it."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"the report would replace {path}, {what}; choose another --report PATH")


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
    """Whether the table at ``path``, or a part of a workbook, begins with a report's columns."""
    if not is_zipfile(path):
        return _has_title(path.open("rb"))
    try:
        with ZipFile(path) as book:
            names = [one for one in book.namelist() if re.fullmatch(r"xl/.*\.xml", one)]
            return any(_has_title(book.open(name)) for name in names)
    except BadZipFile:
        return False


def _has_title(stream: IO[bytes]) -> bool:
    with stream:
        text = stream.read(_BEGINNING)
    return any(title in text for title in _TITLES)
