"""What the import did is held against what the generator knows it wrote."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from izin.demo import generate
from izin.demo.compare import Comparison
from izin.demo.scenario import Played
from izin.demo.verify import _check_truth
from izin.producers.files import ImportReport

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=generate.TURKEY)
PLAN = generate.Plan(rows=8000, seed=1, now=NOW, active=100001, loading=100002)
SIGNUPS = 7


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> generate.Truth:
    """Give the truth about a written export."""
    return generate.write(tmp_path_factory.mktemp("export") / "export.csv", PLAN)


def played(truth: generate.Truth, **came: int) -> Played:
    """Return a run in which the import did what the truth says, but for ``came``."""
    imported = ImportReport(
        path=Path("export.csv"),
        digest="",
        encoding="cp1254",
        delimiter=";",
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
    return Played(
        truth=truth,
        imported=replace(imported, **came),
        signups=SIGNUPS,
        rejections=(),
        heard={},
        killed=(),
    )


def test_an_import_that_did_what_was_written_is_blamed_for_nothing(truth: generate.Truth) -> None:
    """Rows, refusals, publications and keys are as the generator wrote them."""
    found = Comparison()
    _check_truth(found, played(truth), truth.keys + SIGNUPS)
    assert found.differences == []


@pytest.mark.parametrize("name", ["rows", "refused", "published", "not_registrable"])
def test_a_count_that_differs_from_the_truth_is_blamed(truth: generate.Truth, name: str) -> None:
    """One row more or less is a difference."""
    found = Comparison()
    _check_truth(found, played(truth, **{name: getattr(truth, name) + 1}), truth.keys + SIGNUPS)
    assert len(found.differences) == 1


def test_a_key_that_is_missing_is_blamed(truth: generate.Truth) -> None:
    """Every key of the file and every signup must be there at the end."""
    found = Comparison()
    _check_truth(found, played(truth), truth.keys + SIGNUPS - 1)
    assert "keys" in found.differences[0].what


def test_the_same_plan_writes_the_same_bytes(tmp_path: Path) -> None:
    """A story can be told again; another seed tells another."""
    one, other, different = (tmp_path / name for name in ("one", "other", "different"))
    generate.write(one, PLAN)
    generate.write(other, PLAN)
    generate.write(different, replace(PLAN, seed=2))
    assert one.read_bytes() == other.read_bytes() != different.read_bytes()


def test_the_truth_adds_up(truth: generate.Truth) -> None:
    """Rows are published or refused, and nothing in the file is of tomorrow but what must fail."""
    assert truth.published + truth.refused == truth.rows == PLAN.rows
    assert sum(truth.invalid.values()) == truth.refused
    assert timedelta(0) < generate.FRESH
