"""The report file of an import."""

import csv

from izin.producers.files.import_report import ImportReport


def reported(report: ImportReport) -> list[dict[str, str]]:
    """Return the rows of the report file."""
    assert report.report_path is not None
    with report.report_path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=";"))
