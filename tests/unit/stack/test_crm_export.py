"""The made-up CRM export, and the import compared with what was written."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from izin.producers.files.importer import ImportReport
from izin.stack import crm_export
from izin.stack.report import DemoComparison, _check_import
from izin.stack.scenario import ScenarioResult

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=crm_export.TURKEY)
SPEC = crm_export.ExportSpec(rows=8000, seed=1, now=NOW, active=100001, loading=100002)
SIGNUPS = 7


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> crm_export.ExportTruth:
    """Write an export and return its expected results."""
    return crm_export.write(tmp_path_factory.mktemp("export") / "export.csv", SPEC)


def test_export_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """The same spec gives the same file; another seed gives another."""
    one, same, other = (tmp_path / name for name in ("one.csv", "same.csv", "other.csv"))
    assert crm_export.write(one, SPEC) == crm_export.write(same, SPEC)
    crm_export.write(other, replace(SPEC, seed=2))
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()


def a_result(truth: crm_export.ExportTruth, **counts: int) -> ScenarioResult:
    """Return a run whose import is as written, but for ``counts``."""
    imported = ImportReport(
        path=Path("export.csv"),
        digest="",
        refused_opt_outs=0,
        refused_unclear=0,
        encoding="cp1254",
        delimiter=";",
        header_line=1,
        repeated_headers=0,
        without_recipient=0,
        rows=truth.rows,
        published=truth.published,
        opt_outs=0,
        not_registrable=truth.not_registrable,
        past_term=0,
        refused=truth.refused,
        reasons={},
        report_path=None,
        dry_run=False,
        seconds=0,
    )
    return ScenarioResult(
        truth=truth,
        imported=replace(imported, **counts),
        signups=SIGNUPS,
        pushed=(),
        pulled=(),
        received={},
        kills=(),
    )


def test_check_import_as_written_finds_nothing(truth: crm_export.ExportTruth) -> None:
    """Rows, refusals, publications and keys are as written."""
    found = DemoComparison()
    _check_import(found, a_result(truth), truth.keys + SIGNUPS)
    assert found.differences == []


@pytest.mark.parametrize("name", ["rows", "refused", "published", "not_registrable"])
def test_check_import_with_other_counts_has_differences(
    truth: crm_export.ExportTruth, name: str
) -> None:
    """One row more is one, and a missing key of the file or of the signups another."""
    found = DemoComparison()
    result = a_result(truth, **{name: getattr(truth, name) + 1})
    _check_import(found, result, truth.keys + SIGNUPS - 1)
    _, keys = found.differences
    assert "keys" in keys.what


def test_export_truth_adds_up(truth: crm_export.ExportTruth) -> None:
    """Rows are published or refused, and refused rows are counted by kind."""
    assert truth.published + truth.refused == truth.rows == SPEC.rows
    assert sum(truth.invalid.values()) == truth.refused
    assert timedelta(0) < crm_export.FRESH
