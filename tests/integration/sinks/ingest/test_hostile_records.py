"""Thousands of hostile records: none ends the ingester, and every opt-out among them arrives."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from izin.consent.ordering import decide
from izin.runtime import kafka
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest.isolation import Isolation
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, ret, until
from tests.support.builders import a_decision_record, an_admitted_event
from tests.support.hostile.records import HostileRecords

pytestmark = [pytest.mark.database, pytest.mark.broker, pytest.mark.timeout(180)]

HOSTILE, EVERY = 3_000, 50
BEYOND_BUDGET = 1_500
"""So many pause the opt-ins of both partitions: what comes after is handled as they are."""


def a_decision(number: int) -> Mapping[str, Any]:
    """Return a valid decision of a number, half of them on opt-outs; none on a phone number."""
    event = an_admitted_event(
        event_id=f"hostile-{number}",
        type="EPOSTA",
        recipient=f"h{number}@example.com",
        status="RET" if number % 2 else "ONAY",
        origin_ref=f"form {number}",
    )
    return a_decision_record(decide(None, event), offset=number)


@pytest.mark.parametrize(("share", "hostile_records"), [(0.2, BEYOND_BUDGET), (1, HOSTILE)])
async def test_hostile_decisions_stop_no_opt_out(
    harness: SinkHarness, kafka_settings: KafkaSettings, share: float, hostile_records: int
):
    """With the usual budget and without a bound; afterwards the topic's opt-ins wait, or it is read
    to its end.
    """
    topic = kafka_settings.topics.decisions.name
    hostile = HostileRecords(harness.codec, "Decision", a_decision, seed=15)
    recipients = [a_phone(50_000 + number) for number in range(hostile_records // EVERY)]
    opt_outs = iter(harness.decided(*map(ret, recipients)))
    producer = Producer({"bootstrap.servers": kafka_settings.bootstrap_servers, "linger.ms": 50})
    for number, value in enumerate(hostile.values(hostile_records)):
        producer.produce(topic, value=value, partition=number % 2)
        if number % EVERY == 0:
            producer.produce(topic, value=next(opt_outs).value, partition=number // EVERY % 2)
        producer.poll(0)
    assert await asyncio.to_thread(producer.flush, 30) == 0
    isolation = Isolation(DeadLetterBudget(share=share))
    ingester = replace(harness.ingester, settings=kafka_settings, isolation=isolation)
    reader = await ingester.open()
    ends = await asyncio.to_thread(kafka.committed_ends, kafka_settings, topic)
    read = 0

    async def is_read() -> bool:
        nonlocal read
        read += await reader.step(timedelta(seconds=0.5))
        return read == sum(ends.values())

    await until(is_read, within=100)
    await reader.close()
    rows = await harness.ledger.fetch(
        "SELECT recipient, desired_status FROM consents WHERE recipient = ANY(%(recipients)s)",
        {"recipients": recipients},
    )
    assert {row["recipient"]: row["desired_status"] for row in rows} == dict.fromkeys(
        recipients, "RET"
    )
    positions = await harness.ledger.fetch("SELECT partition, next_offset FROM kafka_offsets")
    passed = {row["partition"]: row["next_offset"] for row in positions}
    waiting = {partition for partition, end in ends.items() if passed[partition] < end}
    assert waiting == isolation.paused
    assert waiting == (set(ends) if share < 1 else set())
