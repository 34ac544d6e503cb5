"""A sink worker as a process whose Kafka is away: what it logs can be read, and is not endless."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, until
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

pytestmark = pytest.mark.database


async def test_worker_without_kafka_logs_few_lines_of_json(
    harness: SinkHarness, database_url: str, iys: SimulatorAdmin, tmp_path: Path
):
    """What librdkafka repeats at each attempt of each client comes once, with a count later."""
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    log = tmp_path / "sinks.log"
    processes = SinkProcesses(
        count=1,
        settings=KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"),
        database_url=database_url,
        simulator=iys,
        log=log,
        result_delay=0.2,
        environment={"IZIN_KAFKA_LOG_LEVEL": "6", "IZIN_LOG_LEVEL": "info"},
    )
    processes.start()
    try:
        # After six seconds: each client has tried many times by then.
        await until(lambda: "kafka unreachable" in log.read_text("utf-8"), within=30)
    finally:
        await asyncio.to_thread(processes.end)
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    events = Counter((one["logger"], one["event"]) for one in lines)
    assert events["izin.runtime.broker_watch", "kafka unreachable"] == 1
    assert sum(count for (logger, _), count in events.items() if logger == "librdkafka") <= 10
    assert len(lines) <= 50


@pytest.mark.broker
@pytest.mark.timeout(180)
async def test_iys_away_and_back_is_an_event_each(
    harness: SinkHarness,
    database_url: str,
    kafka_settings: KafkaSettings,
    iys: SimulatorAdmin,
    tmp_path: Path,
):
    """An opt-out is due meanwhile, so a person must know; what fails again says no more."""
    await harness.ingest_opt_out(*(onay(a_phone(number)) for number in range(5)))
    log = tmp_path / "sinks.log"
    processes = SinkProcesses(
        count=1,
        settings=kafka_settings,
        database_url=database_url,
        simulator=iys,
        log=log,
        result_delay=0.2,
        environment={"IZIN_LOG_LEVEL": "info", "IZIN_PULL_INTERVAL": "PT1S"},
    )
    iys.inject_fault("*", drop="before", times=None)
    processes.start()
    try:
        await until(lambda: "iys unreachable" in log.read_text("utf-8"), within=30)
        known = iys.requests()["total"]
        await until(lambda: iys.requests()["total"] >= known + 10, within=60)
        iys.clear_faults()
        await until(lambda: "iys reachable again" in log.read_text("utf-8"), within=30)
    finally:
        iys.clear_faults()
        await asyncio.to_thread(processes.end)
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    events = Counter(one["event"] for one in lines)
    assert (events["iys unreachable"], events["iys reachable again"]) == (1, 1)
    (away,) = (one for one in lines if one["event"] == "iys unreachable")
    assert away["level"] == "critical"
    calls = re.compile("did not reach İYS|not answered|circuit of")
    failed = [one for one in lines if one is not away and calls.search(str(one.get("error")))]
    assert len(failed) <= 5, failed
