"""The two formats of a report: CSV as Excel in Turkey opens it (UTF-8 with a BOM, and ``;``), and a
workbook, whose cells are texts.

No cell is a formula for a spreadsheet: one that could be begins with an apostrophe, as a text cell
does, and is read again without it. Controls are written out, and read again as they stood.
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

from openpyxl import Workbook

from izin.consent.texts import visible
from izin.producers.files.columns import ColumnChoices
from izin.producers.files.table_formats import WORKBOOK
from izin.producers.files.tables import whole_file

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


def write_report(
    path: Path, headers: Sequence[str], rows: Iterable[Sequence[str]], *, mode: int
) -> None:
    """Write a report to ``path``, whole or not at all: a workbook if its name says so, else CSV.

    Raises:
        UnwritableTableError: it cannot be written.
    """
    write = _write_workbook if path.suffix.lower() == WORKBOOK else _write_csv
    with whole_file(path) as stream:
        os.fchmod(stream.fileno(), mode)
        write(stream, headers, rows)
        stream.flush()
        os.fsync(stream.fileno())


def _write_csv(stream: BinaryIO, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(map(_harmless, headers))
    writer.writerows(map(_harmless, row) for row in rows)
    text.detach()


def _write_workbook(
    stream: BinaryIO, headers: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("izin")
    for row in chain([headers], rows):
        sheet.append([*map(_harmless, row)])
    book.save(stream)


def _harmless(cell: str) -> str:
    """Return ``cell`` so that no spreadsheet evaluates it, with its controls written out."""
    return visible(f"'{cell}" if _FORMULA.match(cell) else cell)[:LONGEST_VALUE]


def without_added(choices: ColumnChoices, headers: Sequence[str]) -> ColumnChoices:
    """Return ``choices`` that also leave out those of ``headers`` that a report has added: it is
    imported itself, corrected.
    """
    added = [one for one in ADDED if one in headers]
    return replace(choices, ignored=(*choices.ignored, *added)) if added else choices
