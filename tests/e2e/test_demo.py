"""The demo is the end-to-end test: real servers, real processes, one story told three times."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
GIVEN_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")


def run_demo(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run ``izin demo`` on servers of its own; return exit code, report and what it told."""
    command = [sys.executable, "-m", "izin.console", "demo", "--output", "json"]
    where = ["--state-dir", str(folder / "state"), "--export", str(folder / "export.csv")]
    environment = {name: value for name, value in os.environ.items() if name not in GIVEN_SERVERS}
    ended = subprocess.run(
        [*command, *where, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(ended.stdout) if ended.stdout else {}
    return ended.returncode, report, ended.stderr


def left_behind(folder: Path) -> Iterator[str]:
    """Yield each process that still runs and whose command or environment names ``folder``."""
    mark = str(folder).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if mark in told and process.name != str(os.getpid()):
            yield process.name


def agrees(report: dict[str, Any]) -> None:
    """Assert that topics, ledger and İYS tell one story, and every citizen was heard."""
    assert report["differences"] == []
    assert report["unexplained_differences"] == 0
    assert report["citizens_heard"] == report["citizens"] == 1000
    assert report["push"]["measured"] + report["pull"]["measured"] == 1000
    ended = ("registered", "expired", "kept_locally", "parked", "refused_by_iys")
    assert sum(report[name] for name in ended) == report["keys"]


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
