"""The benchmarks of the ledger and its sinks measure correctly, each on few rows.

How good a figure is, is for the bar to judge.
"""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.daily.command import measure_daily_file
from benchmarks.sink.cpu_priority import give_priority
from benchmarks.sink.erasure import measure_erasure
from benchmarks.sink.evidence import measure_evidence
from benchmarks.sink.fixture import BRANDS, sink_fixture
from benchmarks.sink.iys_account import register
from benchmarks.sink.known_keys import measure_known_keys
from benchmarks.sink.ledger_lost import measure_lost, measure_publishing
from benchmarks.sink.ledger_rebuild import measure_rebuild
from benchmarks.sink.outbox import measure_outbox_reads
from benchmarks.sink.rate_limit import rate_limit
from benchmarks.sink.retention import measure_retention
from benchmarks.sink.submission_cost import measure_submission_cost
from benchmarks.sink.sweep import figures, measure_sweep
from izin.ledger.unit_of_work import UnitOfWork
from izin.runtime.settings import KafkaSettings
from tests.integration.conftest import kafka_settings
from tests.support.simulator import SimulatorAdmin

__all__ = ["kafka_settings"]

pytestmark = pytest.mark.database


async def test_a_thousand_keys_are_claimed_submitted_and_settled(database_url: str) -> None:
    """Every claimed key ends as accepted, and every entry is saved."""
    async with sink_fixture(database_url, KafkaSettings(), keys=100) as fixture:
        found = await measure_submission_cost(
            fixture, database_url, ingested=50, trials=1, keys=100
        )
        rows = await fixture.ledger.fetch(
            "SELECT state, count(*) AS keys FROM consents GROUP BY state ORDER BY state"
        )
    # Three thousands warm up before the one that is measured. What was ingested is still pending,
    # and so are the known keys that opted out and in again.
    assert {row["state"]: row["keys"] for row in rows} == {"accepted": 4076, "pending": 74}
    # The registration of the customer and of each brand is an entry too.
    assert found.entries == 1 + len(BRANDS) + 50 + 3 * 4000
    assert min(found.claimed_ms, found.settled_ms, found.entry_bytes, found.cpu_ms) > 0
    assert json.loads(json.dumps(asdict(found))) == asdict(found)


def test_daily_file_is_fetched_and_compared(database_url: str, tmp_path: Path) -> None:
    """Each figure is there, and both files are equal; how good it is, is for the bar to judge."""
    found = measure_daily_file(database_url, tmp_path, rows=500)
    assert (found["lines"], found["is_equal"], found["timestamp"]) == (500, True, "unverified")
    assert found["seconds"] > 0
    assert found["peak_megabytes"] > 0


async def test_changes_of_known_keys_are_measured(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one of them takes the general path."""

    def one_by_one(*_: object) -> None:
        raise AssertionError("a key was changed one by one")

    monkeypatch.setattr(UnitOfWork, "put", one_by_one)
    found = await measure_known_keys(database_url, keys=2000, changed=900, seen=600)
    assert (found.keys, found.decisions, found.entries) == (2000, 900, 600)
    assert min(found.decided_a_second, found.observed_a_second) > 0


async def test_rebuild_is_measured_and_agrees(database_url: str, tmp_path: Path) -> None:
    """Of every key, without a call to İYS."""
    found = await measure_rebuild(database_url, tmp_path / "plan.json", keys=500, workers=1)
    assert (found.keys, found.is_equal, found.differences, found.calls) == (500, True, 0, 0)


@pytest.mark.broker
async def test_lost_ledger_stands_again_and_is_published(
    database_url: str,
    kafka_settings: KafkaSettings,  # a fixture
    tmp_path: Path,
) -> None:
    """Every row as it was, and one permission of each."""
    plan = tmp_path / "plan.json"
    found = await measure_lost(database_url, kafka_settings, plan, keys=500, workers=1)
    assert (found.failures, found.is_equal, found.queued) == ([], True, 500)
    assert await measure_publishing(database_url, kafka_settings) > 0


async def test_every_key_is_swept_and_every_request_counted(
    database_url: str, simulator: SimulatorAdmin
) -> None:
    """How many of its requests it makes is for the bar to judge."""
    simulator.configure(requestsPerSecond=0, tokenLimit=0)
    register(simulator.post)
    held = [
        {"brandCode": code, "type": "MESAJ", "status": "ONAY", "recipient": f"+9054{number:08d}"}
        for code in BRANDS
        for number in range(1, 31)
    ]
    simulator.post("citizen", movements=[{**one, "source": "IYS_WEB_YENI"} for one in held])
    use = await measure_sweep(database_url, simulator.address, keys=60, rate=10, say=print)
    assert (use.confirmed, use.requests, simulator.calls("statuses")) == (60, 2, 2)
    assert 0 < figures(use)["sweep-slots"] <= 101


def test_a_small_backlog_is_submitted_to_its_end() -> None:
    """Every consent is accepted, and every opt-out made meanwhile is registered at İYS."""
    found = rate_limit(consents=4000, workers=1, batch=200, delay=0.5, opt_outs=1)
    assert (found.data["consents"], found.data["refused"]) == (4000, 0)
    assert found.data["accepted"] >= 4000
    assert found.figures["opt-outs-missing"] in {0, None}  # None: it was over before one came
    assert found.figures["rate-limit-h124"] == 0
    assert found.figures["rate-limit-used"] > 0
    assert "the simulator" in found.data["simulator"]


def test_a_process_gets_priority_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not permitted, the measurement continues and reports it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        if give_priority(child.pid):
            assert os.sched_getscheduler(child.pid) == os.SCHED_RR
        monkeypatch.delattr(os, "sched_setscheduler")
        assert not give_priority(child.pid)
    finally:
        child.communicate(b"\n", timeout=10)


@pytest.mark.parametrize(
    ("measured", "rows", "expected", "above"),
    [
        (
            measure_erasure,
            {"keys": 400, "erased": 40},
            {"erased": 40},
            {"seconds": 0, "entries": 39},
        ),
        (
            measure_evidence,
            {"rows": 60, "entries": 6},
            {"entries": 6, "is_proven": True, "segments": 1},
            {"seconds": 0, "rows": 60},
        ),
        (
            measure_outbox_reads,
            {"delivered": 20_000, "trials": 3},
            {},
            {"delivered": 19_999, "empty_ms": 0, "floor_ms": 0, "first_id_ms": 0},
        ),
        (
            measure_retention,
            {"rows": 2000, "holds": 40},
            {"rows": 2000, "holds": 40},
            {"seconds": 0},
        ),
    ],
)
async def test_work_on_few_rows_is_measured(
    database_url: str,
    measured: Callable[..., Awaitable[Any]],
    rows: dict[str, int],
    expected: dict[str, object],
    above: dict[str, float],
) -> None:
    """Every key is erased with its history, an archive is proven with a segment for each anchor
    that it needs, each kind of read is timed, and months under many holds are asked about.
    """
    found = await measured(database_url, **rows)
    assert {name: getattr(found, name) for name in expected} == expected
    for name, least in above.items():
        assert getattr(found, name) > least, name
