"""A sink worker whose Kafka refuses its password."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.sinks.sink_harness import SinkHarness, until
from tests.support.secure.broker import PASSWORD, SecureKafka
from tests.support.secure.connections import settings_of
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

pytestmark = [pytest.mark.broker, pytest.mark.database]

WRONG = "obviously-fake-and-wrong"


async def test_worker_with_a_wrong_password_names_it_and_goes_on(
    harness: SinkHarness,
    database_url: str,
    iys: SimulatorAdmin,
    secure_kafka: SecureKafka,
    tmp_path: Path,
):
    """As for a broker that is away: an operator may correct it there. No secret is logged."""
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    given = {**secure_kafka.environment(), "KAFKA_SASL_PASSWORD": WRONG}
    log = tmp_path / "sinks.log"
    processes = SinkProcesses(
        count=1,
        settings=settings_of(given),
        database_url=database_url,
        simulator=iys,
        log=log,
        result_delay=0.2,
        environment=given,
    )
    processes.start()
    try:
        await until(lambda: "kafka unreachable" in log.read_text("utf-8"), within=60)
        assert processes.running[0].poll() is None
    finally:
        await asyncio.to_thread(processes.end)
    text = log.read_text("utf-8")
    assert WRONG not in text
    assert PASSWORD not in text
    events = [json.loads(line) for line in text.splitlines()]
    (unreachable,) = [one for one in events if one["event"] == "kafka unreachable"]
    assert "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in unreachable["error"]
