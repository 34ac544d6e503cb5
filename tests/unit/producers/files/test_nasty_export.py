"""Exports as people have them: every row is read as a person would, or refused with a reason."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from izin.producers.files import ColumnChoices, ImportReport
from tests.support.builders import BRAND
from tests.support.hostile import nasty_export
from tests.support.hostile.nasty_export import ExpectedConsent, NastyTruth
from tests.unit.producers.conftest import ImportOf, reported
from tests.unit.producers.fakes import NOW, FakePublisher

ROWS, WORKBOOK_ROWS, CUSTOMERS = 5000, 700, 500
CHOICES = ColumnChoices(
    mapped=nasty_export.MAPPED, ignored=nasty_export.IGNORED, values=nasty_export.VALUES
)
WIDE = ColumnChoices(
    mapped=nasty_export.MAPPED,
    ignored=nasty_export.IGNORED,
    values=nasty_export.VALUES,
    given={"marka": str(BRAND)},
)


def a_list(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_csv(path, rows=ROWS, brand=BRAND, now=now)


def a_workbook(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_workbook(path, rows=WORKBOOK_ROWS, brand=BRAND, now=now)


def customers(path: Path, now: datetime) -> NastyTruth:
    return nasty_export.write_wide(path, rows=CUSTOMERS, now=now)


@pytest.mark.parametrize(
    ("write", "choices", "encoding"),
    [
        (a_list, CHOICES, "cp1254"),
        (a_workbook, CHOICES, "xlsx"),
        (customers, WIDE, "utf-16-le"),
    ],
)
def test_nasty_export_is_read_as_a_person_would(  # noqa: PLR0917  # fixtures and cases
    tmp_path: Path,
    fake: FakePublisher,
    import_of: ImportOf,
    write: Callable[[Path, datetime], NastyTruth],
    choices: ColumnChoices,
    encoding: str,
):
    """Row by row: the recipient, channel, status, instant and source that the generator meant."""
    path = tmp_path / "liste"
    truth = write(path, NOW)
    report = import_of(path, columns=replace(choices, header_row=truth.header_line))
    assert report.encoding == encoding
    counts = (report.header_line, report.rows, report.repeated_headers)
    assert counts == (truth.header_line, truth.rows, truth.repeated_headers)
    found = {
        ExpectedConsent(
            line=one.row or 0,
            type=one.type,
            recipient=one.recipient,
            status=one.status,
            at=one.consent_date,
            source=one.source or "",
        )
        for one in fake.events
    }
    assert found == {one._replace(at=one.at and one.at.astimezone(UTC)) for one in truth.consents}
    assert len(fake.events) == len(truth.consents) == report.published
    check_report(report, truth)


def check_report(report: ImportReport, truth: NastyTruth) -> None:
    """Check that the report has a reason for each row that a person cannot read, and no other."""
    lines = reported(report)
    assert all(
        one["izin: neden"] and one["izin: reason"] and one["izin: kod/code"] for one in lines
    )
    unread = [one for one in lines if "not imported" in one["izin: sonuç/outcome"]]
    refused = {place for one in unread for place in _places(one)}
    assert refused == {(one.line, one.column) for one in truth.refused}
    published = [one for one in lines if "published" in one["izin: sonuç/outcome"]]
    assert {int(one["izin: satır/row"]) for one in published} == truth.undated
    # Nobody can read the recipients of these opt-outs.
    assert report.refused_opt_outs == sum(one.status == "RET" for one in truth.refused)
    assert report.refused_unclear == sum(one.status == "" for one in truth.refused)


def _places(line: dict[str, str]) -> list[tuple[int, str]]:
    number = int(line["izin: satır/row"])
    return [(number, column) for column in line["izin: sütun/column"].split(", ")]
