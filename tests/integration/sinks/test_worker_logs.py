"""A sink worker as a process whose Kafka is away: what it logs can be read, and is not endless."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import SinkHarness, until
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
    assert events["izin.runtime.answer_watch", "kafka unreachable"] == 1
    assert sum(count for (logger, _), count in events.items() if logger == "librdkafka") <= 10
    assert len(lines) <= 50
