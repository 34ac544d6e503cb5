"""The result of an import: its counts, and the report of every row that needs correction.

A report has the columns of the imported file and the cells of each such row as they stand there,
and behind them :data:`ADDED`: where the row is, what is wrong in Turkish and English, and what
became of it. So a row is corrected in the report itself, and the report is imported: an import
leaves the added columns out. Refused opt-outs come first, then refused rows that may be opt-outs,
then the others. It quotes the imported file, so whoever may read that may read it. It may replace
an earlier report, and never the file that is imported or another one.

Rows are collected in a temporary file of the process, for they are sorted when all are there.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final, NamedTuple, Self
from zipfile import BadZipFile, ZipFile, is_zipfile

from izin.consent import Status, Violation
from izin.producers.files.cells import cell_text
from izin.producers.files.table_formats import ADDED, LONGEST_VALUE, write_report
from izin.producers.files.tables import FileRow, UnusableFileError, writing
from izin.schemas.words import status_of

_BETWEEN: Final = " | "
"""Between several reasons of one row."""
_DELIMITERS: Final = re.compile(r"[;,\t\n]")
_BEGINNING: Final = 1 << 24
"""So much of a file is looked at: a header is at the beginning."""
_TITLES: Final = tuple(ADDED[2].encode(encoding) for encoding in ("ascii", "utf-16-le"))
"""A column that only reports have, also where a spreadsheet has saved one as Unicode text."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What an import has counted."""

    refused_opt_outs: int = 0
    """Opt-outs (RET) among the refused rows: recipients who said no, and of whom nobody knows."""
    refused_unclear: int = 0
    """Refused rows whose status cannot be read: opt-outs may be among them."""
    rows: int = 0
    published: int = 0
    """Events acknowledged by the broker; in a dry run, those to be published."""
    opt_outs: int = 0
    """The opt-outs (RET) among them."""
    not_registrable: int = 0
    """Opt-outs that were published and reported: İYS would not register them as they stand."""
    past_term: int = 0
    """Opt-ins (ONAY) published after their term: void unless İYS holds them already."""
    refused: int = 0
    """Rows that were not published."""
    refused_reversals: int = 0
    """Opt-ins among them that would reverse an opt-out that stands."""
    reversals: int = 0
    """Opt-ins (ONAY) published though they reverse an opt-out (RET) that stood: a person has given
    them back."""
    repeated_headers: int = 0
    """Lines that are the header once more; no rows."""
    without_recipient: int = 0
    """Opt-outs of one channel in rows that have no address for it: they concern nobody. Only where
    the file has a column a channel.
    """
    silent: int = 0
    """Rows that say nothing of any channel. Only where the file has a column a channel."""
    reasons: dict[str, int] = field(default_factory=dict)
    """How often each code was reported."""


@dataclass(slots=True, kw_only=True)
class ImportReport(Tally):
    """The result of an import."""

    path: Path
    digest: str
    encoding: str
    delimiter: str
    """Nothing for a workbook."""
    header_line: int
    """The line, or row, of the header; those above it are titles."""
    hidden_sheets: tuple[str, ...] = ()
    """Hidden sheets of the workbook that have rows, and were left out."""
    report_path: Path | None
    """The report file; None if there was nothing to report."""
    reversals_path: Path | None = None
    """The list of the refused reversals, to be looked through and given back."""
    dry_run: bool
    seconds: float = 0.0
    restarted_because: str | None = None
    """Why an import was repeated: one of it had ``stopped``, or what stopped or ended before it was
    another: ``file-changed`` or ``options-changed``."""
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


class ReportRows:
    """The rows of a report while its import runs."""

    def __init__(self, path: Path, headers: Sequence[str]) -> None:
        self._path = path
        self._width = len(headers)
        # Where the imported file is a report itself, its reasons are not those of this import.
        self._places = [place for place, one in enumerate(headers) if one not in ADDED]
        self._headers = [headers[place] for place in self._places]
        self._file: BinaryIO

    def __enter__(self) -> Self:
        with writing(self._path):
            self._file = TemporaryFile("w+b", dir=self._path.parent)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

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
        with writing(self._path):
            self._file.write(line.encode() + b"\n")

    def complete(self, mode: int) -> None:
        """Write the report, with the access rights ``mode``; without rows there is none, and an
        earlier one is removed.
        """
        headers = (*self._headers, *ADDED)
        with writing(self._path):
            if not self._file.tell():
                self._path.unlink(missing_ok=True)
                return
            write_report(self._path, headers, self._sorted(), mode=mode)
            if next(self._reversals(), None) is not None:
                write_report(reversals_beside(self._path), headers, self._reversals(), mode=mode)

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


def check_place(report: Path, source: Path) -> None:
    """Check that a report at ``report`` replaces at most an earlier one.

    Raises:
        UnusableFileError: the file ``source`` is there, which is imported, or another that is none.
        UnwritableFileError: what is there cannot be read.
    """
    what = "the report would replace {}; choose another --report PATH"
    with writing(report):
        if not report.exists():
            return
        if report.samefile(source):
            raise UnusableFileError(report, what.format("the file that is imported"))
        is_report = report.is_file() and (
            not report.stat().st_size
            or any(title in text for text in _beginnings(report) for title in _TITLES)
        )
        if not is_report:
            raise UnusableFileError(report, what.format("it, which is no report of an import"))


def _beginnings(path: Path) -> Iterator[bytes]:
    """Yield how the table at ``path`` begins, or each of the parts of a workbook."""
    if not is_zipfile(path):
        with path.open("rb") as stream:
            yield stream.read(_BEGINNING)
        return
    with suppress(BadZipFile), ZipFile(path) as book:
        for name in book.namelist():
            if name.startswith("xl/") and name.endswith(".xml"):
                with book.open(name) as part:
                    yield part.read(_BEGINNING)
