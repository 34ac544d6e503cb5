"""The two formats of files, CSV and Excel workbooks: which is read, and how a report is written.

A report is CSV as Excel in Turkey opens it (UTF-8 with a BOM, and ``;``), or a workbook whose cells
are texts. No cell is a formula for a spreadsheet: one that could be begins with an apostrophe, as a
text cell does, and is read again without it. Controls are written out, and read again as they
stood.
"""

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import is_zipfile

from izin.consent import visible
from izin.producers.files.delimited import open_delimited
from izin.producers.files.tables import Table, UnusableFileError, whole_file
from izin.producers.files.workbook import open_workbook
from izin.producers.mapping.choices import ColumnChoices

WORKBOOK = ".xlsx"
"""How the name of a workbook ends that is written."""
EVENT_COLUMN: Final = "izin: olay/event"
"""The id of an event that a person may give back."""
ADDED: Final = (
    "izin: satır/row",
    "izin: sütun/column",
    "izin: kod/code",
    "izin: neden",
    "izin: reason",
    "izin: sonuç/outcome",
    EVENT_COLUMN,
)
"""The columns that a report has beside those of its file."""
LONGEST_VALUE: Final = 32_000
"""A cell of Excel holds 32,767 characters."""
_FORMULA: Final = re.compile(r"[\t\r\n]|[ \u00a0]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet could evaluate, also in its wide forms."""


def suffix_of(path: Path) -> str:
    """Return how the name of a table ends that is written like the one at ``path``.

    Macros are not written: a workbook with them becomes one without.
    """
    return WORKBOOK if is_zipfile(path) else path.suffix


def open_table(path: Path, choices: ColumnChoices, *, first_sheet: bool = False) -> Table:
    """Return the table at ``path``, whose columns have known names or those of ``choices``.

    Of a workbook it must be the only sheet with rows, unless ``first_sheet`` says which is meant.

    Raises:
        UnusableFileError: it is no table, or several.
    """
    table = open_workbook(path, choices) if is_zipfile(path) else open_delimited(path, choices)
    if table.others and not first_sheet:
        names = ", ".join(f'"{one}"' for one in table.others)
        raise UnusableFileError(
            path,
            "has rows in other sheets, too, also hidden ones: %(names)s; save each sheet as a file "
            "of its own, or delete those that are no part of the table",
            names=names,
        )
    return table


def write_report(
    path: Path, headers: Sequence[str], rows: Iterable[Sequence[str]], *, mode: int
) -> None:
    """Write a report to ``path``, whole or not at all: a workbook if its name says so, else CSV.

    Raises:
        UnwritableTableError: it cannot be written.
    """
    write = _write_workbook if path.suffix.lower() == WORKBOOK else write_csv
    with whole_file(path) as stream:
        os.fchmod(stream.fileno(), mode)
        write(stream, headers, rows)
        stream.flush()
        os.fsync(stream.fileno())


def write_csv(stream: BinaryIO, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table as CSV that Excel in Turkey opens, and evaluates nothing of."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(map(harmless, headers))
    writer.writerows(map(harmless, row) for row in rows)
    text.detach()


def _write_workbook(
    stream: BinaryIO, headers: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    from openpyxl import Workbook  # noqa: PLC0415  # slow to load, and needed for this alone

    book = Workbook(write_only=True)
    sheet = book.create_sheet("izin")
    for row in chain([headers], rows):
        sheet.append([*map(harmless, row)])
    book.save(stream)


def harmless(cell: str) -> str:
    """Return ``cell`` so that no spreadsheet evaluates it, with its controls written out."""
    return visible(f"'{cell}" if _FORMULA.match(cell) else cell)[:LONGEST_VALUE]


def without_added(choices: ColumnChoices, headers: Sequence[str]) -> ColumnChoices:
    """Return ``choices`` that also leave out those of ``headers`` that a report has added: it is
    imported itself, corrected.
    """
    added = [one for one in ADDED if one in headers]
    return replace(choices, ignored=(*choices.ignored, *added)) if added else choices
