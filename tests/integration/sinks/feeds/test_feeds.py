"""The feeds on a real broker: snapshot and follow, retention, recreated topics, transactions."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition

from izin.runtime.kafka import admin, producer
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.api_keys import ApiKey
from tests.integration.sinks.feeds.conftest import (
    PARTITIONS,
    SUBSCRIBER,
    Served,
    opt_outs,
    permissions,
    serving,
    write,
)
from tests.support.api_keys import publish_key

pytestmark = pytest.mark.broker


async def test_snapshot_then_follow_gives_every_permission(settings: KafkaSettings, served: Served):
    """What was there when it began, then what comes; a deletion too, and each once."""
    topic = settings.topics.permissions.name
    write(settings, topic, permissions(*range(100)))
    # A snapshot is of what the endpoint knows of; it learns of records a moment later.
    await served.all("permissions", 100)
    page = await served.page("permissions", limit=30)
    assert (len(page["items"]), page["complete"]) == (30, False)
    write(settings, topic, permissions(200))
    rest, cursor = await served.all("permissions", 71, after=page["next"], limit=30)
    items = page["items"] + rest
    found = [one["recipient"] for one in items]
    assert sorted(found) == [f"+90555000{one:04}" for one in [*range(100), 200]]
    assert {one["topic"] for one in items} == {topic}

    waiting = asyncio.create_task(served.page("permissions", after=cursor, wait=30))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    ((key, _),) = permissions(7)
    write(settings, topic, [(key, None)])
    (deleted,) = (await waiting)["items"]
    assert (deleted["key"], deleted["deleted"]) == (key.decode(), True)


async def test_opt_outs_begin_at_the_oldest_or_now(settings: KafkaSettings, served: Served):
    """A new subscriber chooses; who follows gets the next one either way."""
    topic = settings.topics.opt_outs.name
    write(settings, topic, opt_outs(1, 2, 3))
    _, cursor = await served.all("opt-outs", 3, limit=2)
    now = await served.page("opt-outs", from_="now")
    assert (now["items"], now["complete"]) == ([], True)
    write(settings, topic, opt_outs(4))
    for after in (cursor, now["next"]):
        page = await served.page("opt-outs", after=after, wait=10)
        assert [one["recipient"] for one in page["items"]] == ["+905550000004"]
        assert page["items"][0]["event_id"] == "event-1"


async def test_records_of_others_move_the_cursor(settings: KafkaSettings, served: Served):
    """They are not returned, and not searched again."""
    topic = settings.topics.outcomes.name
    write(settings, topic, permissions(1), partition=0)  # unreadable as outcomes
    write(
        settings,
        settings.topics.permissions.name,
        permissions(1, 2, customer_id="beta", brand_code=7),
    )
    page = await served.page("permissions", wait=1)
    assert page["items"] == []
    again = await served.page("permissions", after=page["next"], limit=1)
    assert again["items"] == []
    (item,) = (await served.page("outcomes", wait=10))["items"]
    assert item["unreadable"] is True


async def test_aborted_transaction_is_never_returned(settings: KafkaSettings, served: Served):
    """Nor an open one: its records come when it is committed, behind the mark of the other."""
    topic = settings.topics.opt_outs.name
    client = producer(settings, **{"transactional.id": f"{settings.topic_prefix}test"})
    client.init_transactions(20)
    begun = (await served.page("opt-outs", from_="now"))["next"]
    client.begin_transaction()
    write(settings, topic, opt_outs(1), partition=0, client=client)
    client.abort_transaction(20)
    client.begin_transaction()
    write(settings, topic, opt_outs(2), partition=0, client=client)
    page = await served.page("opt-outs", after=begun, wait=0.5)
    assert page["items"] == []
    client.commit_transaction(20)
    for after in (page["next"], begun):
        page = await served.page("opt-outs", after=after, wait=10)
        assert [one["recipient"] for one in page["items"]] == ["+905550000002"]
    # From Kafka, not from memory: another process has neither.
    async with serving(settings) as other:
        items, _ = await other.all("opt-outs", 1)
    assert [one["recipient"] for one in items] == ["+905550000002"]


async def test_cursor_that_retention_overtook_is_gone(settings: KafkaSettings):
    """Records would be missing, and the client must know; a new beginning has what is left."""
    topic = settings.topics.opt_outs.name
    write(settings, topic, opt_outs(*range(10)), partition=1)
    async with serving(settings) as served:
        old = (await served.page("opt-outs", limit=3))["next"]
    client = admin(settings)
    for deleted in client.delete_records([TopicPartition(topic, 1, 8)]).values():
        deleted.result(20)
    async with serving(settings) as served:
        response = await served.get("opt-outs", after=old)
        assert response.status_code == 410
        assert response.headers["content-type"] == "application/problem+json"
        assert "load the permissions again" in response.json()["detail"]
        items, _ = await served.all("opt-outs", 2)
        assert [one["offset"] for one in items] == [8, 9]


async def test_cursor_of_a_recreated_topic_is_refused(settings: KafkaSettings, served: Served):
    """Its offsets are other records now; what was in memory is forgotten."""
    topic = settings.topics.opt_outs.name
    write(settings, topic, opt_outs(1, 2, 3))
    _, cursor = await served.all("opt-outs", 3)
    client = admin(settings)
    client.delete_topics([topic])[topic].result(20)
    async with asyncio.timeout(20):
        while topic in client.list_topics(timeout=10).topics:  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.05)
    ensure_topics(settings)
    write(settings, topic, opt_outs(9))
    async with asyncio.timeout(30):
        while True:
            response = await served.get("opt-outs", after=cursor)
            if response.status_code == 410:
                break
            await asyncio.sleep(0.1)
    assert response.json()["title"] == "Cursor of another topic"
    async with asyncio.timeout(30):
        while True:
            with suppress(AssertionError):
                items, _ = await served.all("opt-outs", 1)
                break
            await asyncio.sleep(0.1)
    assert [one["recipient"] for one in items] == ["+905550000009"]


async def test_waiting_request_of_a_revoked_key_is_refused(settings: KafkaSettings, served: Served):
    """Within two seconds, and not at the end of its wait."""
    begun = (await served.page("opt-outs", from_="now"))["next"]
    waiting = asyncio.create_task(served.get("opt-outs", after=begun, wait=30))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    publish_key(settings, ApiKey.of(SUBSCRIBER.to_avro() | {"revoked_at": datetime.now(UTC)}))
    async with asyncio.timeout(2):
        response = await waiting
    assert response.status_code == 401


async def test_stopping_process_answers_who_waits(settings: KafkaSettings):
    """With an empty page and a cursor: the client goes on elsewhere."""
    async with serving(settings) as served:
        begun = (await served.page("opt-outs", from_="now"))["next"]
        waiting = asyncio.create_task(served.page("opt-outs", after=begun, wait=30))
        await asyncio.sleep(0.3)
    page = await waiting
    assert page["items"] == []


async def test_order_of_each_key_is_kept(settings: KafkaSettings, served: Served):
    """Over partitions, pages, and both ways to read."""
    topic = settings.topics.permissions.name
    client = producer(settings)
    for number in range(40):
        reason = f"reason-{number:02}"
        write(settings, topic, permissions(*range(6), reason=reason), client=client)
    items, _ = await served.all("permissions", 240, limit=17)
    async with serving(settings) as other:
        again, _ = await other.all("permissions", 240, limit=13)
    for found in (items, again):
        assert len(found) == 240
        for recipient in {one["recipient"] for one in found}:
            reasons = [one["reason"] for one in found if one["recipient"] == recipient]
            assert reasons == [f"reason-{number:02}" for number in range(40)]
        assert {one["partition"] for one in found} <= set(range(PARTITIONS))
