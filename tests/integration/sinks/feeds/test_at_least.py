"""Consistency tokens on a real broker: the positions of the order stage and the ledger are read."""

import asyncio

import pytest
from confluent_kafka import Producer

from izin.runtime.kafka import admin, producer
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities, identities
from izin.schemas.consistency_token import LogPosition, token_of
from tests.integration.sinks.feeds.conftest import (
    CODEC,
    Served,
    opt_outs,
    permissions,
    serving,
    write,
)

pytestmark = pytest.mark.broker


def transactional(settings: KafkaSettings, name: str) -> Producer:
    """Return a producer that writes in transactions."""
    client = producer(settings, **{"transactional.id": f"{settings.topic_prefix}{name}"})
    client.init_transactions(20)
    return client


def identities_of(settings: KafkaSettings) -> TopicIdentities:
    """Return the ids of the topics before the feeds."""
    topics = settings.topics
    names = [one.name for one in (topics.events, topics.express, topics.decisions)]
    return identities(admin(settings), names)


def positions(settings: KafkaSettings, events_offset: int) -> bytes:
    """Return the positions of an order stage that has come so far."""
    found, topics = identities_of(settings), settings.topics
    value = {
        "cluster_id": found.cluster_id,
        "events_topic_id": found.topic_ids[topics.events.name],
        "express_topic_id": found.topic_ids[topics.express.name],
        "desired_consents_topic_id": "any",
        "events_offset": events_offset,
        "express_offset": 0,
        "law_version": 1,
    }
    return CODEC.encode("Positions", value)


async def test_opt_out_is_returned_once_the_order_stage_was_there(
    settings: KafkaSettings, served: Served
):
    """With its positions in one transaction, though Kafka ends it partition by partition."""
    topics, client = settings.topics, transactional(settings, "order")
    token = token_of([LogPosition(topics.events.name, 1, 4)])
    waiting = asyncio.create_task(served.get("opt-outs", at_least=token))
    client.begin_transaction()
    write(settings, topics.opt_outs.name, opt_outs(1), partition=1, client=client)
    where = topics.positions.name
    write(settings, where, [(b"1", positions(settings, 5))], partition=1, client=client)
    await asyncio.sleep(0.2)
    assert not waiting.done()
    client.commit_transaction(20)
    response = await waiting
    assert response.status_code == 200, response.text
    (item,) = response.json()["items"]
    assert (item["recipient"], response.json()["reflects"]) == ("+905550000001", True)


async def test_positions_are_found_behind_many_aborted_transactions(settings: KafkaSettings):
    """A feed that starts looks further back: the last record may be far from the end."""
    topics, client = settings.topics, transactional(settings, "order")
    where = topics.positions.name
    client.begin_transaction()
    write(settings, where, [(b"0", positions(settings, 5))], partition=0, client=client)
    client.commit_transaction(20)
    for _ in range(2):
        client.begin_transaction()
        write(settings, where, [(b"0", b"mark")] * 100, partition=0, client=client)
        client.abort_transaction(20)
    token = token_of([LogPosition(topics.events.name, 0, 4)])
    write(settings, topics.events.name, [(b"key", b"event")] * 6, partition=0)
    async with serving(settings) as served:
        page = await served.page("opt-outs", at_least=token)
        assert page["reflects"] is True
        late = await served.get(
            "opt-outs", at_least=token_of([LogPosition(topics.events.name, 0, 5)])
        )
        assert late.status_code == 503
        assert "the order stage" in late.json()["detail"]


async def test_permission_waits_for_the_ledger(settings: KafkaSettings, served: Served):
    """Up to the end that the decisions have: another partition's does not count."""
    topics, found = settings.topics, identities_of(settings)
    token = token_of([LogPosition(topics.events.name, 2, 0)])
    write(settings, topics.decisions.name, [(b"key", b"decision")], partition=2)
    write(settings, topics.positions.name, [(b"2", positions(settings, 1))], partition=2)
    waiting = asyncio.create_task(served.get("permissions", at_least=token))
    for offsets in ([9, 9, 0], [9, 9, 1]):
        await asyncio.sleep(0.2)
        assert not waiting.done()
        write(settings, topics.permissions.name, permissions(1))
        value = {
            "cluster_id": found.cluster_id,
            "decisions_topic_id": found.topic_ids[topics.decisions.name],
            "decisions_offsets": offsets,
        }
        taken = CODEC.encode("LedgerPositions", value)
        write(settings, topics.ledger_positions.name, [(b"decisions", taken)])
    response = await waiting
    assert response.status_code == 200, response.text
    assert response.json()["reflects"] is True


async def test_token_beyond_the_end_of_a_lane_is_refused(settings: KafkaSettings):
    """Nothing was written there, so nobody was given it, and to wait again would never end: the
    client is told, and no fault of ours is counted.
    """
    topics = settings.topics
    write(settings, topics.express.name, [(b"key", b"event")] * 2, partition=1)
    async with serving(settings, IZIN_FEEDS_REFLECT_WITHIN="PT0.2S") as served:
        for offset, status in ((1, 503), (2, 400), (2**63 - 1, 400)):
            lies = [LogPosition(topics.express.name, 1, offset)]
            response = await served.get("opt-outs", at_least=token_of(lies))
            assert response.status_code == status, (offset, response.text)
