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

    Of a workbook it must be the only sheet with rows, unless ``first_sheet`` says which is meant.

    Raises:
        UnusableFileError: it is no table, or several.
    """
    if not is_zipfile(path):
        return open_delimited(path, choices)
    table = open_workbook(path, choices)
    if table.others and not first_sheet:
        names = ", ".join(f'"{one}"' for one in table.others)
        raise UnusableFileError(
            path,
            f"has rows in other sheets, too, also hidden ones: {names}; save each sheet as a file "
            "of its own, or delete those that are no part of the table",
        )
    return table
