"""The demo is the end-to-end test: real servers, real processes, one story told three times."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import izin, left_behind

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def run_demo(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run ``izin demo`` on servers of its own; return exit code, report and what it told."""
    where = ["--state-dir", str(folder / "state"), "--export", str(folder / "export.csv")]
    with izin("demo", "--output", "json", *where, *options) as process:
        printed, told = process.communicate()
    return process.returncode, json.loads(printed) if printed else {}, told


def agrees(report: dict[str, Any]) -> None:
    """Assert that topics, ledger and İYS tell one story, and every citizen was heard."""
    assert report["differences"] == []
    assert report["unexplained_differences"] == 0
    assert report["citizens_heard"] == report["citizens"] == 1000
    assert report["push"]["measured"] + report["pull"]["measured"] == 1000
    ended = ("registered", "expired", "kept_locally", "parked", "refused_by_iys")
    assert sum(report[name] for name in ended) == report["keys"]
    # The verdict holds the import against the generator's truth; what is wrong is in differences.
    assert 0 < report["rows_refused"] <= sum(report["refusal_reasons"].values())


def test_the_main_job_is_done(tmp_path: Path) -> None:
    """Twenty thousand rows, signups and citizens end as one story, and nothing is left running."""
    code, report, told = run_demo(tmp_path)
    assert code == 0, told
    agrees(report)
    assert report["rows_read"] == 20_000
    assert report["signups"] == 200
    assert report["push"]["measured"] == 500
    assert report["dead_letters"] == 0
    assert list(left_behind(tmp_path)) == []


def test_the_main_job_is_done_under_fire(tmp_path: Path) -> None:
    """The same when each worker is killed once: nothing lost, nothing twice, no "no" missing."""
    code, report, told = run_demo(tmp_path, "--rows", "8000", "--chaos")
    assert code == 0, told
    agrees(report)
    killed = sorted(one["killed"] for one in report["chaos"])
    assert killed == ["intake", "order worker", "sink worker"]
    assert list(left_behind(tmp_path)) == []
