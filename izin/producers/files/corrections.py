"""The rows of a report (CSV) that a person corrects: read, written as a file to import, put back.

What is corrected is a table with the columns of the file and the line that each row had there. Its
import has a report of its own: the rows that are refused again take their place in the first one,
and those that are not leave it.
"""

import csv
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from heapq import merge
from pathlib import Path
from typing import NamedTuple

from izin.producers.files.report import BETWEEN, RowOutcome
from izin.producers.files.table_formats import ADDED, write_report
from izin.producers.files.tables import FileRow, Table
from izin.producers.mapping.cells import notation_text

_LINE, _COLUMNS, _CODES, _REASON_TR, _REASON, _OUTCOME, _EVENTS = range(-len(ADDED), 0)
_RANKS = {str(outcome): rank for rank, outcome in enumerate(RowOutcome)}
_PRIVATE = 0o600


class ReportedRow(NamedTuple):
    """A row of a report."""

    line: int
    cells: tuple[str, ...]
    """Those of the file, as they stand in the report."""
    columns: tuple[str, ...]
    """Those at fault."""
    codes: tuple[str, ...]
    reasons_tr: tuple[str, ...]
    reasons: tuple[str, ...]
    outcome: RowOutcome
    event_ids: tuple[str, ...]
    """Of opt-ins that a person may give back."""

    @property
    def is_inseparable(self) -> bool:
        """Whether its cells could not be separated: the first has all of them."""
        return "IZIN-ROW" in self.codes

    @property
    def shown(self) -> tuple[str, ...]:
        """The cells without the notation of a spreadsheet."""
        return tuple(map(notation_text, self.cells))


def with_their_lines(table: Table) -> Generator[FileRow, None, None]:
    """Yield the rows of corrections, each with the line that it had in the file."""
    place = table.headers.index(ADDED[0])
    with closing(table.rows()) as rows:
        for row in rows:
            yield row if row.fault else replace(row, line=int(row.fields[place]))


def headers_of(report: Path) -> tuple[str, ...]:
    """Return the columns of the file, as its report has them."""
    return tuple(next(_lines(report))[:_LINE])


def reported_rows(report: Path) -> Iterator[ReportedRow]:
    """Yield the rows of a report, in its order."""
    for row in _rows(report):
        yield ReportedRow(
            int(row[_LINE]),
            tuple(row[:_LINE]),
            _split(row[_COLUMNS], ", "),
            _split(row[_CODES], ", "),
            _split(row[_REASON_TR], BETWEEN),
            _split(row[_REASON], BETWEEN),
            RowOutcome(row[_OUTCOME]),
            _split(row[_EVENTS], ", "),
        )


def write_corrections(path: Path, report: Path, rows: Mapping[int, Sequence[str]]) -> None:
    """Write the corrected ``rows``, by their lines, of the file of this ``report`` to ``path``.

    Raises:
        UnwritableTableError: it cannot be written.
    """
    table = ([*rows[line], str(line)] for line in sorted(rows))
    write_report(path, (*headers_of(report), ADDED[0]), table, mode=_PRIVATE)


def put_back(report: Path, again: Path, lines: Collection[int]) -> None:
    """Have in ``report``, of the rows in these ``lines``, those alone that the report ``again`` of
    their corrections has; where all are imported there is none. It may be repeated.

    Raises:
        UnwritableTableError: it cannot be written.
    """
    rest = (row for row in _rows(report) if int(row[_LINE]) not in lines)
    rows = merge(rest, _rows(again), key=lambda row: _RANKS[row[_OUTCOME]])
    write_report(report, (*headers_of(report), *ADDED), rows, mode=_PRIVATE)


def _rows(report: Path) -> Iterator[list[str]]:
    lines = _lines(report) if report.exists() else iter(())
    next(lines, None)
    return lines


def _lines(report: Path) -> Iterator[list[str]]:
    with report.open(encoding="utf-8-sig", newline="") as stream:
        yield from csv.reader(stream, delimiter=";")


def _split(cell: str, between: str) -> tuple[str, ...]:
    return tuple(cell.split(between)) if cell else ()
