"""Topics that are not what they were: created anew, or with records that retention removed."""

import pytest
from confluent_kafka import TopicPartition
from structlog.typing import EventDict

from izin.runtime.kafka import admin
from tests.support.webhooks import Hooks, a_consent, until

pytestmark = [pytest.mark.broker, pytest.mark.database]


async def test_topic_that_was_created_anew_is_posted_from_its_beginning(
    hooks: Hooks, logged: list[EventDict]
):
    """Its offsets are others, and an opt-out must not be passed."""
    hooks.topics.opt_outs(*map(a_consent, range(5)))
    await hooks.subscribe(types=frozenset({"consent.opted-out"}))
    await hooks.ledger.fetch(
        "UPDATE delivery_cursors SET topic_id = 'former' WHERE lane = 'express' RETURNING lane"
    )
    async with hooks.delivering():
        await hooks.until_acknowledged(5)
    assert "topic was created anew; its webhooks begin at its beginning" in events(logged)
    assert {one["topic_id"] for one in await hooks.cursors()} != {"former"}


async def test_removed_records_are_an_alert_and_stop_nothing(hooks: Hooks, logged: list[EventDict]):
    """A subscriber was away for longer than the topic keeps its records."""
    await hooks.subscribe()
    hooks.topics.opt_outs(*map(a_consent, range(20)))
    topic = hooks.settings.topics.opt_outs.name
    places = [TopicPartition(topic, number, 5) for number in range(2)]
    client = admin(hooks.settings)
    for done in client.delete_records(places).values():
        done.result(20)
    # One that was read and is open, and those that were not read, are gone.
    await hooks.ledger.fetch(
        "UPDATE delivery_cursors SET next_offset = 2, open_offsets = '{1}'"
        " WHERE lane = 'express' RETURNING lane"
    )
    async with hooks.delivering(memory=1024):
        await until(lambda: len(hooks.receiver.received) == 10)
        await hooks.until_acknowledged(10)
    found = events(logged)
    assert found.count("record to deliver is gone from its topic") == 2
    assert all(one["open_offsets"] == [] for one in await hooks.cursors())


def events(logged: list[EventDict]) -> list[str]:
    """Return what was logged, the critical events alone."""
    return [one["event"] for one in logged if one["log_level"] == "critical"]
