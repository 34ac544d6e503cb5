"""What an import would make of the columns of a file, before a row is read."""

from dataclasses import dataclass
from pathlib import Path

from izin.producers.files.table_formats import open_table, without_added
from izin.producers.files.tables import Table
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.columns import ColumnMeaning, ColumnsError, column_meanings, resolve
from izin.runtime.masking import mask_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPreview:
    """What an import would make of the columns of a file."""

    path: Path
    encoding: str
    delimiter: str
    """Nothing for a workbook."""
    header_line: int
    """Lines or rows above it are titles."""
    hidden_sheets: tuple[str, ...]
    """Hidden sheets of a workbook that have rows, and are left out."""
    columns: tuple[ColumnMeaning, ...]
    problem: ColumnsError | None
    """What is wrong with the columns and how to correct it: no row can be read before."""


def preview_file(path: Path, choices: ColumnChoices) -> ImportPreview:
    """Return what an import would make of the columns of the file at ``path``.

    Raises:
        SourceError: the file as a whole cannot be used, or a choice names nothing.
    """
    return preview_table(open_table(path, choices), choices)


def preview_table(table: Table, choices: ColumnChoices) -> ImportPreview:
    """Return what an import would make of the columns of ``table``.

    Raises:
        ColumnChoiceError: a choice names nothing.
    """
    problem = None
    choices = without_added(choices, table.headers)
    columns = column_meanings(table.headers, choices)
    try:
        resolve(table.headers, choices)
    except ColumnsError as error:
        problem = error
    return ImportPreview(
        path=table.file.path,
        encoding=table.file.encoding,
        delimiter=table.delimiter,
        header_line=table.header_line,
        hidden_sheets=table.hidden,
        # Where a file has no header, the name of a column is a recipient.
        columns=tuple(column._replace(name=mask_text(column.name)) for column in columns),
        problem=problem,
    )
