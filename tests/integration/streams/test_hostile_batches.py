"""Batches that Kafka stores and that a client may fail to unpack, on a real broker."""

from collections.abc import Callable

import pytest

from izin.runtime.settings import KafkaSettings
from tests.support.builders import an_event
from tests.support.hostile.batches import (
    HOSTILE,
    READABLE,
    UNREADABLE,
    BatchRefusedError,
    RawProducer,
)
from tests.support.order.harness import a_record

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

RECORDS = [(b"key", a_record(an_event(event_id=f"event-{number}")).value) for number in range(3)]


def test_broker_stores_what_the_lists_say(make_settings: Callable[[int], KafkaSettings]) -> None:
    """A release of Kafka that looks closer, or less closely, is noticed."""
    settings = make_settings(1)
    stored = []
    with RawProducer(settings) as raw:
        for name, make in HOSTILE.items():
            try:
                raw.produce(settings.topics.events.name, 0, make(RECORDS))
            except BatchRefusedError:
                continue
            stored.append(name)
    assert sorted(stored) == sorted([*READABLE, *UNREADABLE])
