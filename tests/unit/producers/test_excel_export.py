"""An export as Excel leaves it: all that a person can read in it is read."""

import csv
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest

from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers.files import Import, ImportReport, import_file
from tests.support.builders import BRAND
from tests.support.hostile import excel_export
from tests.unit.producers.fakes import FakePublisher

ROWS = 5000


@pytest.fixture
def imported(
    tmp_path: Path,
    fake: FakePublisher,
    directory: BrandDirectory,
    clock: Callable[[], datetime],
) -> tuple[excel_export.ExcelTruth, ImportReport]:
    path = tmp_path / "excel.csv"
    truth = excel_export.write(path, rows=ROWS, brand=BRAND, now=clock())
    return truth, import_file(path, fake, directory, clock=clock, how=Import())


def test_excel_export_gives_the_counts_of_its_generator(
    imported: tuple[excel_export.ExcelTruth, ImportReport], fake: FakePublisher
):
    """Every opt-out that can be read is published, and refused ones are counted."""
    truth, report = imported
    expected = {name: one for name, one in asdict(truth).items() if name != "keys"}
    assert {name: getattr(report, name) for name in expected} == expected
    opt_outs = {
        f"{one.brand_code}/{one.type}/{one.recipient_type}/{one.recipient}"
        for one in fake.events
        if one.status == "RET"
    }
    assert opt_outs == truth.keys
    assert report.not_registrable == 0


def test_report_begins_with_the_refused_opt_outs(
    imported: tuple[excel_export.ExcelTruth, ImportReport],
):
    """Then come rows that may be opt-outs; each says so."""
    truth, report = imported
    assert report.report_path is not None
    with report.report_path.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter=";"))
    outcomes = [one["izin: sonuç/outcome"].rpartition("/")[2] for one in lines]
    assert sorted(outcomes, key=ORDER.index) == outcomes
    for outcome, count in zip(ORDER, (truth.refused_opt_outs, truth.refused_unclear), strict=False):
        numbers = {
            one["izin: satır/row"] for one in lines if one["izin: sonuç/outcome"].endswith(outcome)
        }
        assert len(numbers) == count


ORDER = [
    "opt-out, not imported",
    "not imported, may be an opt-out",
    "not imported",
]
