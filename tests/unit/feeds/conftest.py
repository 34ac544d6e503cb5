"""An endpoint over topics in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import pytest

from izin.feeds.endpoint import FeedEndpoint, FeedMetrics
from izin.feeds.endpoint import routes_of as feed_routes
from izin.feeds.protocol import Feed, feeds
from izin.feeds.sources import FeedSource
from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.runtime.http_server.problems import public_app
from izin.schemas.api_keys import Scope
from izin.schemas.topics import Topics
from tests.support.api_keys import AUTHORIZATION, an_api_key, known
from tests.support.builders import NOON
from tests.unit.feeds.fakes import FakeLog, a_source, an_end, give

SUBSCRIBER = an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value}))
TOPICS = Topics()


@dataclass
class FakeSources:
    """The sources of all feeds, over one log each, whose tails are ready."""

    partitions: int = 2
    current: bool = True
    feeds: tuple[Feed, ...] = feeds(TOPICS)
    logs: dict[str, FakeLog] = field(default_factory=dict)
    sources: dict[str, FeedSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin empty, at the end."""
        for feed in self.feeds:
            self.logs[feed.name] = FakeLog(self.partitions)
            self.sources[feed.name] = a_source(self.logs[feed.name], feed=feed)
            give(self.sources[feed.name].tail, [an_end(one, 0) for one in range(self.partitions)])
            # Nobody follows it, and it need not be followed.
            tail = self.sources[feed.name].tail
            object.__setattr__(tail, "ends", lambda name=feed.name: self.ends(name))
            object.__setattr__(tail, "is_current", lambda: self.current)

    def ends(self, name: str) -> dict[int, int]:
        """Return up to where the tail has read."""
        return {number: one.end for number, one in self.sources[name].tail.recent.items()}

    def of(self, feed: Feed) -> FeedSource:
        """Return the source of a feed."""
        return self.sources[feed.name]

    async def look(self) -> None:
        """Find the same topics."""

    async def beginnings(self, source: FeedSource) -> dict[int, int]:
        """Return where the log begins."""
        return dict(self.logs[source.feed.name].starts)

    def write(self, feed: str, *messages: Any) -> None:  # noqa: ANN401  # Messages
        """Append messages; the tail reads them at once."""
        for message in messages:
            self.logs[feed].append(message)
        give(self.sources[feed].tail, messages)


@dataclass
class Api:
    """What a test changes, and the client."""

    client: httpx.AsyncClient
    sources: FakeSources
    endpoint: FeedEndpoint
    now: list[datetime]

    async def get(self, path: str, **query: object) -> httpx.Response:
        """Ask for a page."""
        given = {name.rstrip("_"): str(value) for name, value in query.items()}
        return await self.client.get(path, params=given)


@asynccontextmanager
async def serving(keys: ApiKeyDirectory | None = None) -> AsyncIterator[Api]:
    """Serve feeds to whoever has a key of ``keys``."""
    sources, now = FakeSources(), [NOON]
    endpoint = FeedEndpoint(
        sources=sources,  # type: ignore[arg-type]
        keys=keys or known(SUBSCRIBER),
        metrics=FeedMetrics(),
        clock=lambda: now[0],
        stopping=asyncio.Event(),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(public_app(feed_routes(endpoint), dict)),
        base_url="http://feeds",
        headers=AUTHORIZATION,
    ) as client:
        yield Api(client, sources, endpoint, now)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve feeds to a subscriber."""
    async with serving() as one:
        yield one
