"""Thousands of hostile records on both lanes: no worker ends, and every opt-out is decided."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.records import event_to_avro
from tests.support.builders import an_event
from tests.support.hostile.inputs import HostileRecords
from tests.support.order.harness import CODEC
from tests.support.order.verdict import backlog, committed_records
from tests.support.order.workers import Worker, until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

HOSTILE, EVERY, PARTITIONS = 3_000, 50, 2


def an_avro_event(number: int) -> Mapping[str, Any]:
    """Return a valid event of a number, half of them opt-outs; none of a phone number."""
    event = an_event(
        event_id=f"hostile-{number}",
        type="EPOSTA",
        recipient=f"h{number}@example.com",
        status="RET" if number % 2 else "ONAY",
        evidence={"page": "signup"},
    )
    return event_to_avro(event)


def test_hostile_events_stop_no_opt_out(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
) -> None:
    """Everything is decided or dead-lettered, and the worker ends when it is asked to."""
    settings = make_settings(PARTITIONS)
    lanes = settings.topics.events.name, settings.topics.express.name
    hostile = HostileRecords(CODEC, "ConsentEvent", an_avro_event, seed=15)
    recipients = {f"+9055505{number:05d}" for number in range(HOSTILE // EVERY)}
    waiting = sorted(recipients)
    producer = kafka.producer(settings)
    for number, value in enumerate(hostile.values(HOSTILE)):
        producer.produce(lanes[number % 2], value=value, key=b"%d" % number)
        if number % EVERY == 0:
            event = an_event(event_id=f"ret-{number}", status="RET", recipient=waiting.pop())
            opt_out = CODEC.encode("ConsentEvent", event_to_avro(event))
            producer.produce(lanes[number // EVERY % 2], value=opt_out, key=b"%d" % number)
        producer.poll(0)
    assert producer.flush(30) == 0
    worker = start_worker("one", settings)
    until(lambda: worker.health()["ready"] == [0, 1], within=40, what="owner")
    until(lambda: not backlog(settings), within=60, what="end of the backlog")
    assert worker.end() == 0
    found = {
        CODEC.decode("Consent", one.value() or b"")["recipient"]
        for one in committed_records(settings, settings.topics.opt_outs.name)
    }
    assert found >= recipients
