"""The HTTP endpoints of the feeds, for API keys of the scope ``subscribe``.

``GET /v1/opt-outs``, ``/v1/permissions`` and ``/v1/outcomes`` return a page of items and the cursor
behind it. A page that would be empty is held back up to ``wait`` seconds. While a request waits,
its key is checked every second: what comes after a revocation is not returned.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from izin.consent.errors import OurError
from izin.projections.api_keys import ApiKeyDirectory, authorised
from izin.projections.latest_records import ForeignTokenError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.http_server.shedding import share_of_key
from izin.runtime.observe import get_logger
from izin.schemas.api_keys import ApiKey, Scope
from izin.sinks.feeds.log import Feed, LostOffsetError, UnreachableLogError
from izin.sinks.feeds.protocol import (
    Cursor,
    FeedRefusal,
    FeedRequest,
    feed_request,
    page,
    read_cursor,
)
from izin.sinks.feeds.reading import PageReading
from izin.sinks.feeds.reflection import Reflection, not_reflected
from izin.sinks.feeds.sources import FeedSource, Sources

_SEARCH = 2.0
"""Seconds after which a page ends, though it is not full."""
_CHECKED_EVERY = 1.0
"""Seconds after which a waiting request is looked at: is its key still valid, its client there."""

_log = get_logger(__name__)


class FeedMetrics:
    """The metrics of one process, by feed, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "izin_feeds_requests",
            "Requests to a feed, by HTTP status.",
            ["feed", "status"],
            registry=self.registry,
        )
        self.items = Counter(
            "izin_feeds_items",
            "Items that were returned.",
            ["feed"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "izin_feeds_waiting",
            "Requests that wait for a record, or for what a token names.",
            ["feed"],
            registry=self.registry,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEndpoint:
    """Serves every feed."""

    sources: Sources
    reflection: Reflection
    keys: ApiKeyDirectory
    metrics: FeedMetrics
    clock: Callable[[], datetime]
    reflect_within: timedelta
    stopping: asyncio.Event
    """When set, who waits is answered."""

    async def get(self, request: Request) -> Response:
        """Answer a request with a page, or a problem."""
        feed = next(one for one in self.sources.feeds if one.path == request.url.path)
        source = self.sources.of(feed)
        try:
            key = self._authorise(request)
            with share_of_key(request, key.name):
                response = await self._page(request, source, key)
        except RequestRefusedError as error:
            response = error.response()
        except LostOffsetError:
            # A topic that was created again has other records there, which is not noticed at once.
            await self.sources.look()
            is_other = self.sources.of(feed) is not source
            response = (FeedRefusal.FOREIGN if is_other else FeedRefusal.DELETED).response()
        except ForeignTokenError:
            response = FeedRefusal.TOKEN.response()
        except OurError as error:
            _log.warning("feed not readable", feed=feed.name, error=str(error))
            response = FeedRefusal.UNREACHABLE.response()
        self.metrics.requests.labels(feed.name, str(response.status_code)).inc()
        return response

    def _authorise(self, request: Request) -> ApiKey:
        return authorised(request, self.keys, Scope.SUBSCRIBE, now=self.clock())

    async def _page(self, request: Request, source: FeedSource, key: ApiKey) -> Response:
        feed = source.feed
        asked = feed_request(request.query_params, feed)
        cursor = await self._begin(source, asked)
        time = asyncio.get_running_loop().time
        reflected_until = time() + self.reflect_within.total_seconds()
        required = None
        if asked.at_least is not None:
            with self.metrics.waiting.labels(feed.name).track_inprogress():
                required = await self.reflection.ends(
                    feed,
                    asked.at_least,
                    self.sources.identities,
                    within=self.reflect_within.total_seconds(),
                )
        wait_until = time() + asked.wait
        reading = PageReading(source, cursor, key, limit=asked.limit)
        while True:
            changed, looked_at = source.tail.changed.next, self.clock()
            await reading.fill(time() + _SEARCH)
            reflects = required is None or reading.reaches(required)
            if not reading.is_at_end or self.stopping.is_set():
                break
            if reflects and (reading.items or time() >= wait_until):
                break
            if not reflects and time() >= reflected_until:
                raise not_reflected("this endpoint")
            until = wait_until if reflects else reflected_until
            await self._wait(request, feed, changed, min(until - time(), _CHECKED_EVERY))
            reading.key = self._authorise(request)
        is_current = source.tail.is_current()
        if not reading.items and not is_current:
            raise UnreachableLogError("what was read may not be all")
        behind = reading.cursor(looked_at if is_current else None)
        self.metrics.items.labels(feed.name).inc(len(reading.items))
        return page(
            reading.items,
            behind.text(feed, source.identity),
            complete=behind.ends is None,
            reflects=None if required is None else reflects,
        )

    async def _begin(self, source: FeedSource, asked: FeedRequest) -> Cursor:
        """Return the cursor from which a request reads.

        Raises:
            RequestRefusedError: it cannot be read from there, or not yet.
            UnreachableLogError: Kafka does not answer.
        """
        now = self.clock()
        if asked.after is not None:
            return read_cursor(asked.after, source.feed, source.identity, now)
        ends = source.tail.ends()
        if ends is None:
            raise FeedRefusal.UNREACHABLE.error("the end of the topic is not known yet")
        if asked.is_from_now:
            return Cursor(offsets=ends, complete_at=now)
        begun = await self.sources.beginnings(source)
        return Cursor(offsets=begun, ends=ends, complete_at=now)

    async def _wait(
        self, request: Request, feed: Feed, changed: asyncio.Event, seconds: float
    ) -> None:
        """Wait for a change; raises ClientDisconnect where nobody waits any more."""
        waiting = self.metrics.waiting.labels(feed.name)
        with waiting.track_inprogress(), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()
        if await request.is_disconnected():
            raise ClientDisconnect


def routes_of(endpoint: FeedEndpoint) -> list[Route]:
    """Return the routes of ``endpoint``."""
    return [Route(one.path, endpoint.get, methods=["GET"]) for one in endpoint.sources.feeds]
