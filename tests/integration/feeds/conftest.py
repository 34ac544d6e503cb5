"""The feeds, served in the loop of the test, and writers of what they serve."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from izin.feeds import endpoint
from izin.kafka.clients import producer
from izin.local import free_port
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.records import ID
from tests.support.builders import an_api_key
from tests.support.published import (
    a_permission,
    an_opt_out,
    key_of,
    publish_brand,
    publish_key,
)
from tests.support.servers import http

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
