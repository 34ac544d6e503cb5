"""The feeds on a real broker: snapshot and follow, retention, recreated topics, transactions.

The feeds as a process: started, read and stopped, or refused with the setting at fault.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from izin.feeds import endpoint
from izin.kafka.clients import ensure_topics, producer
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.records import ID
from tests.support.builders import AUTHORIZATION, an_api_key
from tests.support.published import (
    a_permission,
    an_opt_out,
    delete_topics,
    key_of,
    publish_brand,
    publish_key,
    remove_below,
    transaction,
)
from tests.support.servers import http
from tests.support.waiting import until

pytestmark = pytest.mark.broker

PARTITIONS = 3
CODEC = Codec()
SUBSCRIBER = an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value}))


@pytest.fixture
def settings(make_settings: Callable[[int], KafkaSettings]) -> KafkaSettings:
    """Return settings of topics with the brand and the key of the builders."""
    found = make_settings(PARTITIONS)
    publish_key(found, SUBSCRIBER)
    publish_brand(found)
    return found


Record = tuple[bytes, bytes | None]


def write(
    settings: KafkaSettings,
    topic: str,
    records: Sequence[Record],
    *,
    partition: int | None = None,
    client: Producer | None = None,
) -> None:
    """Write records, each with its key for its id, and wait until Kafka has them."""
    mine = client or producer(settings)
    where = {} if partition is None else {"partition": partition}
    for number, (key, value) in enumerate(records):
        mine.produce(topic, key=key, value=value, headers=[(ID, key + b"/%d" % number)], **where)
    assert mine.flush(20) == 0


def permissions(*recipients: int) -> list[Record]:
    """Return the records of permissions of these recipients."""
    keys = map(key_of, recipients)
    return [(one.encode(), CODEC.encode("Permission", a_permission(one))) for one in keys]


def opt_outs(*recipients: int) -> list[Record]:
    """Return the records of opt-outs of these recipients."""
    keys = map(key_of, recipients)
    return [
        (one.encode(), CODEC.encode("Consent", an_opt_out(one, event_id="event-1"))) for one in keys
    ]


@dataclass(kw_only=True)
class Served:
    """Feeds that are served."""

    client: httpx.AsyncClient
    operations: str
    """The URL of the listener for operators."""

    async def get(self, feed: str, **query: object) -> httpx.Response:
        """Ask for a page."""
        given = {name.rstrip("_"): str(value) for name, value in query.items()}
        return await self.client.get(f"/v1/{feed}", params=given)

    async def page(self, feed: str, **query: object) -> Mapping[str, Any]:
        """Return a page."""
        response = await self.get(feed, **query)
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def all(self, feed: str, count: int, **query: object) -> tuple[list[dict[str, Any]], str]:
        """Return so many items, and the cursor at the end, where there is nothing else."""
        page = await self.page(feed, **{**query, "wait": 10})
        items = page["items"]
        while len(items) < count or not page["complete"]:
            query.pop("from_", None)
            page = await self.page(feed, **{**query, "wait": 10, "after": page["next"]})
            assert page["items"] or page["complete"], "too few"
            items += page["items"]
        assert len(items) == count
        rest = await self.page(feed, **{**query, "after": page["next"]})
        assert rest["items"] == []
        return items, rest["next"]


@asynccontextmanager
async def serving(settings: KafkaSettings, **overrides: object) -> AsyncIterator[Served]:
    """Serve the feeds of ``settings``; they are ready then."""
    given = {"IZIN_FEEDS_PORT": free_port(), "IZIN_FEEDS_OPERATIONS_PORT": free_port()}
    feeds = FeedsSettings.model_validate(given | overrides)
    run = partial(endpoint.run, settings, feeds, CODEC)
    async with http.served(feeds, run) as (client, operations):
        yield Served(client=client, operations=operations)


@pytest.fixture
async def served(settings: KafkaSettings) -> AsyncIterator[Served]:
    """Serve the feeds."""
    async with serving(settings) as one:
        yield one


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
