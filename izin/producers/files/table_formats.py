"""Which format a file has: CSV or Excel workbook."""

from pathlib import Path
from zipfile import is_zipfile

from izin.producers.files.columns import ColumnChoices
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


def open_table(path: Path, choices: ColumnChoices) -> Table:
    """Return the table at ``path``, whose columns have known names or those of ``choices``.

    Raises:
        UnusableFileError: it is no table.
    """
    return open_workbook(path) if is_zipfile(path) else open_delimited(path, choices)
