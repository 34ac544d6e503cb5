"""A CRM export imported row by row: columns, rows, report."""

from izin.producers.files.importer import (
    FindOptOuts,
    Import,
    Start,
    import_file,
)
from izin.producers.files.preview import ImportPreview, preview_file
from izin.producers.files.report import ImportReport
from izin.producers.files.rows import ReversalRules, read_reversals
from izin.producers.files.table_formats import WORKBOOK, open_table, suffix_of
from izin.producers.files.tables import Cells, FileRow, Table, UnusableFileError, whole_file
from izin.producers.mapping.cells import cell_text
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.columns import ColumnsError, recipient_place
from izin.producers.mapping.saved import read_mapping

__all__ = (
    "WORKBOOK",
    "Cells",
    "ColumnChoices",
    "ColumnsError",
    "FileRow",
    "FindOptOuts",
    "Import",
    "ImportPreview",
    "ImportReport",
    "ReversalRules",
    "Start",
    "Table",
    "UnusableFileError",
    "cell_text",
    "import_file",
    "open_table",
    "preview_file",
    "read_mapping",
    "read_reversals",
    "recipient_place",
    "suffix_of",
    "whole_file",
)
