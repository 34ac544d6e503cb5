"""The report file of an import."""

import csv

import openpyxl

from izin.producers.files import ImportReport


def reported(report: ImportReport) -> list[dict[str, str]]:
    """Return the rows of the report file, by the names of its columns."""
    header, *rows = cells_of(report)
    return [dict(zip(header, row, strict=True)) for row in rows]


def cells_of(report: ImportReport) -> list[list[str]]:
    """Return the header and the rows of the report file, in either format."""
    path = report.report_path
    assert path is not None
    if path.suffix == ".xlsx":
        rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [["" if one is None else one for one in row] for row in rows]
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream, delimiter=";"))
