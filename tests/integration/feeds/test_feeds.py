"""The feeds on a real broker: snapshot and follow, retention, recreated topics, transactions.

The feeds as a process: started, read and stopped, or refused with the setting at fault.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress

import httpx
import pytest

from izin.kafka.clients import ensure_topics
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import KafkaSettings
from tests.integration.feeds.conftest import (
    Served,
    opt_outs,
    permissions,
    serving,
    write,
)
from tests.support.builders import AUTHORIZATION
from tests.support.published import delete_topics, remove_below, transaction
from tests.support.waiting import until

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


async def test_aborted_transaction_is_never_returned(settings: KafkaSettings, served: Served):
    """Nor an open one: its records come when it is committed, behind the mark of the other."""
    topic = settings.topics.opt_outs.name
    client = transaction(settings, "test")
    begun = (await served.page("opt-outs", from_="now"))["next"]
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
    remove_below(settings, topic, {1: 8})
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
    await asyncio.to_thread(delete_topics, settings, topic)
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


def environment(settings: KafkaSettings, **others: str) -> dict[str, str]:
    """Return the settings of a process on ports of its own."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_FEEDS_PORT": str(free_port()),
        "IZIN_FEEDS_OPERATIONS_PORT": str(free_port()),
        **others,
    }


def test_feeds_are_served_until_they_are_stopped(settings: KafkaSettings):
    """By the command, with health and metrics for operators; SIGTERM ends it well."""
    given = environment(settings)
    url, operations = (
        f"http://127.0.0.1:{given[name]}"
        for name in ("IZIN_FEEDS_PORT", "IZIN_FEEDS_OPERATIONS_PORT")
    )

    with subprocess.Popen([sys.executable, "-m", "izin.cli", "feeds"], env=given) as process:
        try:
            until(lambda: answers(f"{url}/health/ready"), within=30)
            page = httpx.get(f"{url}/v1/outcomes", headers=AUTHORIZATION, trust_env=False)
            assert (page.status_code, page.json()["items"]) == (200, [])
            metrics = httpx.get(f"{operations}/metrics", trust_env=False).text
            assert 'izin_feeds_requests_total{feed="outcomes",status="200"} 1.0' in metrics
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
