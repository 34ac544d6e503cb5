"""The demo is the end-to-end test: real servers, real processes, every key compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import izin, left_behind

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def run_demo(folder: Path, *options: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run ``izin demo`` on servers of its own, or those of ``environment``; return exit code,
    report and messages.
    """
    # In the environment, for our workers inherit it: so those that are left behind are found.
    given = {**environment, "IZIN_STATE_DIR": str(folder / "state")}
    export = ("--out", str(folder / "export.csv"))
    with izin("demo", "--output", "json", *export, *options, **given) as process:
        printed, messages = process.communicate()
    return process.returncode, json.loads(printed) if printed else {}, messages


def assert_complete(report: dict[str, Any]) -> None:
    """Assert that topics, ledger and İYS agree, and every citizen's opt-out was received."""
    assert report["differences"] == []
    assert report["unexplained_differences"] == 0
    assert report["citizens_received"] == report["citizens"] == 1000
    assert report["push"]["measured"] + report["pull"]["measured"] == 1000
    ended = ("registered", "expired", "local_only", "parked", "refused_by_iys")
    assert sum(report[name] for name in ended) == report["keys"]
    # The demo compares the import with what was written; faults are in differences.
    assert 0 < report["rows_refused"] <= sum(report["refusal_reasons"].values())


def test_demo_ends_without_differences(tmp_path: Path) -> None:
    """8,000 rows, signups and citizens are all explained, and no process is left running."""
    code, report, messages = run_demo(tmp_path, "--rows", "8000")
    assert code == 0, (report.get("differences"), messages)
    assert_complete(report)
    assert report["rows_read"] == 8000
    assert report["signups"] == 200
    assert report["push"]["measured"] == 500
    assert report["dead_letters"] == 0
    assert list(left_behind(tmp_path)) == []
