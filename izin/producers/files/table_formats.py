"""Which format a file has: CSV or Excel workbook."""

from pathlib import Path
from zipfile import is_zipfile

from izin.producers.files.columns import ColumnChoices
from izin.producers.files.delimited import UnusableFileError
from izin.producers.files.delimited_table import open_delimited
from izin.producers.files.tables import Table
from izin.producers.files.workbook import open_workbook

WORKBOOK = ".xlsx"
"""How the name of a workbook ends that is written."""


def suffix_of(path: Path) -> str:
    """Return how the name of a table ends that is written like the one at ``path``.

    Macros are not written: a workbook with them becomes one without.
    """
    return WORKBOOK if is_zipfile(path) else path.suffix


def open_table(path: Path, choices: ColumnChoices, *, first_sheet: bool = False) -> Table:
    """Return the table at ``path``, whose columns have known names or those of ``choices``.

    Of a workbook it must be the only sheet with rows, unless ``first_sheet`` says which is meant;
    rows above the header are titles then.

    Raises:
        UnusableFileError: it is no table, or several, or one with a row above its header.
    """
    table = open_workbook(path, choices) if is_zipfile(path) else open_delimited(path, choices)
    if first_sheet:
        return table
    if table.others:
        names = ", ".join(f'"{one}"' for one in table.others)
        raise UnusableFileError(
            path,
            f"has rows in other sheets, too, also hidden ones: {names}; save each sheet as a file "
            "of its own, or delete those that are no part of the table",
        )
    head = table.head
    if head.stray is not None:
        raise UnusableFileError(
            path,
            f"line {head.stray} may be a row of the table, and its header seems to be line "
            f"{head.line}: rows above it would be lost. Remove it, or say which line names the "
            f"columns, those above being no rows (--header-row {head.line})",
        )
    return table
