"""Sink workers without Kafka: one that is away, and one that refuses a password."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import until
from tests.support.secure import PASSWORD, SecureKafka, settings_of
from tests.support.simulator import SinkProcesses

pytestmark = [pytest.mark.broker, pytest.mark.database]

WRONG = "obviously-fake-and-wrong"


async def test_worker_without_kafka_says_why_and_goes_on(
    processes: SinkProcesses, secure_kafka: SecureKafka, tmp_path: Path
):
    """What librdkafka repeats at each attempt of each client comes once, with a count later. A
    password that is refused is named by its settings, as a broker that is away: an operator may
    correct it there. No secret is logged.
    """
    given = {**secure_kafka.environment(), "KAFKA_SASL_PASSWORD": WRONG}
    log = tmp_path / "refused.log"
    refused = replace(
        processes,
        settings=settings_of(given),
        environment=given,
        log=log,
        running={},
        ports={},
    )
    processes.settings = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    processes.environment = {"IZIN_KAFKA_LOG_LEVEL": "6", "IZIN_LOG_LEVEL": "info"}
    both = processes, refused
    try:
        for one in both:
            one.start()
        # After six seconds: each client has tried many times by then.
        for one in both:
            await until(lambda log=one.log: "kafka unreachable" in log.read_text("utf-8"))
        assert [one.running[0].poll() for one in both] == [None, None]
    finally:
        await asyncio.to_thread(refused.end)
    await asyncio.to_thread(processes.end)
    lines = processes.logged()
    events = Counter((one["logger"], one["event"]) for one in lines)
    assert events["izin.kafka.broker_watch", "kafka unreachable"] == 1
    assert sum(count for (logger, _), count in events.items() if logger == "librdkafka") <= 10
    assert len(lines) <= 50
    (unreachable,) = [one for one in refused.logged() if one["event"] == "kafka unreachable"]
    assert "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in unreachable["error"]
    assert not {secret for secret in (WRONG, PASSWORD) if secret in log.read_text("utf-8")}
