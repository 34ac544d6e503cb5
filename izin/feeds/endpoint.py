"""The feeds over HTTP: the endpoints, and the process that serves them.

The endpoints are for API keys of the scope ``subscribe``.

``GET /v1/opt-outs``, ``/v1/permissions`` and ``/v1/outcomes`` return a page of items and the cursor
behind it. A page that would be empty is held back up to ``wait`` seconds. While a request waits,
its key is checked every second: what comes after a revocation is not returned.

A page is what lies before a cursor, for the holder of one API key. Partitions at whose end the
client is, or nearly so, are read from memory; the others from Kafka, a few at a time, in turn. The
records of a partition keep their order, and so do those of a key; between partitions there is none.
Whatever is read moves the cursor, also where nothing of it is for this client, so that no page is
searched twice; and a page ends when its time is up.

The process binds its ports first and listens once Kafka is reachable; on SIGTERM it answers who
waits, and ends. It stores nothing: what clients have read is in their cursors, and records are in
its memory only.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from izin.consent import OurError
from izin.feeds.protocol import (
    Cursor,
    Feed,
    FeedRefusal,
    FeedRequest,
    LogRecord,
    Stretch,
    feed_request,
    page,
    read_cursor,
)
from izin.feeds.sources import UNDECIDED, FeedSource, Sources
from izin.kafka.bounded_reader import OffsetGoneError
from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import access_of
from izin.kafka.tables.api_keys import ApiKeyDirectory, ApiKeyReader, authorised
from izin.kafka.tables.brand_directory import BrandReader
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import HttpApi, RequestRefusedError
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.http_server.shedding import HttpLimits, share_of_key
from izin.runtime.logs import get_logger
from izin.runtime.process import entered
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.codec import Codec

_SEARCH = 2.0
"""Seconds after which a page ends, though it is not full."""
_CHECKED_EVERY = 1.0
"""Seconds after which a waiting request is looked at: is its key still valid, its client there."""

_log = get_logger(__name__)
_FROM_MEMORY = 500
"""The most records of a partition that are taken before the event loop has its turn."""
_PARTITIONS_AT_ONCE = 8
_BRANDS_ASKED_EVERY = 0.05
"""Seconds until a record whose brand is not known is looked at again."""
_FEWEST, _MOST = 100, 2000
"""The records that one reading of older ones asks for: more where few are for the client."""
_DRAIN = 5
_LIMITS = HttpLimits(requests=2048, connections=4096)
"""Most requests only wait, and take little."""


class PageReading:
    """The page that is being read for one request."""

    def __init__(
        self,
        source: FeedSource,
        cursor: Cursor,
        key: ApiKey,
        *,
        limit: int,
        origin: str | None = None,
    ) -> None:
        self.items: list[bytes] = []
        self.is_at_end = False
        """Whether there was nothing else when it was looked last."""
        self._source = source
        self._begun = cursor
        self.key = key
        """Of the client; it may change while a request waits."""
        self._limit = limit
        self._origin = origin
        self._offsets = dict(cursor.offsets)
        self._turn = cursor.turn
        self._ended: set[int] = set()
        """The partitions that Kafka showed to have nothing more."""
        self._scanned = 0
        self._waits = False
        """Whether a record waits until its brand is known."""
        self._undecided: dict[tuple[int, int], LogRecord] = {}
        """By partition and offset: such records as they were read first. One that is read again
        from Kafka would wait anew."""

    @property
    def is_full(self) -> bool:
        """Whether it has as many items as were asked for."""
        return len(self.items) >= self._limit

    async def fill(self, until: float) -> None:
        """Read until the page is full, the end is reached, or the event loop's clock shows
        ``until``.

        Raises:
            OffsetGoneError: the topic has nothing any more at an offset of the cursor.
            BrokerError: Kafka does not answer.
        """
        clock = asyncio.get_running_loop().time
        self.is_at_end = False
        self._ended.clear()
        while not self.is_full:
            moved = self._read_memory()
            behind = self._behind()
            if behind and not self.is_full:
                await self._read_older(behind)
            elif not moved:
                self.is_at_end = True
                return
            if clock() >= until:
                return
            await asyncio.sleep(_BRANDS_ASKED_EVERY if self._waits else 0)
            self._waits = False

    def cursor(self, now: datetime | None) -> Cursor:
        """Return the cursor behind this page; ``now`` is when it was looked last, None where what
        was seen may not be all.
        """
        ends = self._begun.ends or {}
        is_complete = all(self._offsets.get(number, 0) >= end for number, end in ends.items())
        return replace(
            self._begun,
            offsets=dict(self._offsets),
            ends=None if is_complete else ends,
            turn=self._turn,
            complete_at=now if now is not None and self.is_at_end else self._begun.complete_at,
        )

    def _in_turn(self) -> list[int]:
        count = self._source.identity.partitions
        return [(self._turn + place) % count for place in range(count)]

    def _read_memory(self) -> bool:
        """Take what is in memory; return whether the cursor has moved."""
        recent, offsets = self._source.tail.recent, self._offsets
        ready = [
            number
            for number in self._in_turn()
            if recent[number].covers(offsets[number]) and offsets[number] < recent[number].end
        ]
        for number in ready:
            if self.is_full:
                break
            share = max(1, (self._limit - len(self.items)) // len(ready))
            most = min(_FROM_MEMORY, max(share, _FEWEST))
            self._take(number, recent[number].read(offsets[number], most), share)
        return bool(ready)

    def _behind(self) -> list[int]:
        """Return the partitions, in turn, that must be read from Kafka."""
        recent, offsets = self._source.tail.recent, self._offsets
        return [
            number
            for number in self._in_turn()
            if not recent[number].covers(offsets[number]) and number not in self._ended
        ]

    async def _read_older(self, behind: list[int]) -> None:
        starts = {number: self._offsets[number] for number in behind[:_PARTITIONS_AT_ONCE]}
        wanted = max(2 * (self._limit - len(self.items)), self._scanned)
        most = min(_MOST, max(_FEWEST, wanted))
        found = await self._source.older.read(
            self._source.feed.topic.name, starts, most, name=self.key.name
        )
        share = max(1, (self._limit - len(self.items)) // len(found))
        for number, start in starts.items():
            stretch = found[number]
            if stretch.is_last and stretch.end == start:
                self._ended.add(number)
            elif not self.is_full:
                self._take(number, stretch, share)

    def _take(self, number: int, stretch: Stretch, share: int) -> None:
        """Take ``stretch`` of a partition, up to ``share`` items, and move the cursor."""
        most = min(self._limit, len(self.items) + share)
        self._turn = (number + 1) % self._source.identity.partitions
        for record in stretch.records:
            item = self._source.items.of(record, self.key, self._origin)
            if item is UNDECIDED:
                first = self._undecided.setdefault((number, record.offset), record)
                item = self._source.items.of(first, self.key, self._origin)
            if item is UNDECIDED:
                self._waits = True
                break
            self._scanned += 1
            self._offsets[number] = record.offset + 1
            if item is not None:
                self.items.append(item)
                if len(self.items) >= most:
                    break
        else:
            self._offsets[number] = stretch.end


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
            "Requests that wait for a record.",
            ["feed"],
            registry=self.registry,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEndpoint:
    """Serves every feed."""

    sources: Sources
    keys: ApiKeyDirectory
    metrics: FeedMetrics
    clock: Callable[[], datetime]
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
        except OffsetGoneError:
            # A topic that was created again has other records there, which is not noticed at once.
            await self.sources.look()
            is_other = self.sources.of(feed) is not source
            response = (FeedRefusal.FOREIGN if is_other else FeedRefusal.DELETED).response()
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
        wait_until = time() + asked.wait
        reading = PageReading(source, cursor, key, limit=asked.limit, origin=asked.origin)
        while True:
            changed, looked_at = source.tail.changed.next, self.clock()
            await reading.fill(time() + _SEARCH)
            left = wait_until - time()
            if not reading.is_at_end or self.stopping.is_set() or reading.items or left <= 0:
                break
            await self._wait(request, feed, changed, min(left, _CHECKED_EVERY))
            reading.key = self._authorise(request)
        is_current = source.tail.is_current()
        if not reading.items and not is_current:
            raise BrokerError("what was read may not be all")
        behind = reading.cursor(looked_at if is_current else None)
        self.metrics.items.labels(feed.name).inc(len(reading.items))
        return page(reading.items, behind.text(feed, source.identity), complete=behind.ends is None)

    async def _begin(self, source: FeedSource, asked: FeedRequest) -> Cursor:
        """Return the cursor from which a request reads.

        Raises:
            RequestRefusedError: it cannot be read from there, or not yet.
            BrokerError: Kafka does not answer.
        """
        now = self.clock()
        if asked.after is not None:
            return read_cursor(asked.after, source.feed, source.identity, now)
        ends = source.tail.ends()
        if ends is None:
            raise FeedRefusal.UNREACHABLE.error("the end of the topic is not known yet")
        if asked.is_from_now:
            return Cursor(offsets=ends, complete_at=now)
        return Cursor(offsets=await self.sources.beginnings(source), ends=ends, complete_at=now)

    async def _wait(
        self, request: Request, feed: Feed, changed: asyncio.Event, seconds: float
    ) -> None:
        """Wait for a change; raises ClientDisconnect where nobody waits any more."""
        with self.metrics.waiting.labels(feed.name).track_inprogress(), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await changed.wait()
        if await request.is_disconnected():
            raise ClientDisconnect


def routes_of(endpoint: FeedEndpoint) -> list[Route]:
    """Return the routes of ``endpoint``."""
    return [Route(feed.path, endpoint.get, methods=["GET"]) for feed in endpoint.sources.feeds]


def serve(kafka: KafkaSettings, settings: FeedsSettings, codec: Codec) -> None:
    """Serve the feeds until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start, or lacks a topic.
    """
    serve_until_stopped(
        settings,
        partial(run, kafka, settings, codec),
        server="the feeds",
        variables="IZIN_FEEDS",
    )


async def run(
    kafka: KafkaSettings,
    settings: FeedsSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Serve the feeds on ``listeners`` until ``stopping`` is set; raises BrokerError."""
    brands = BrandReader(access_of(kafka), codec)
    broker, metrics = BrokerWatch(kafka), FeedMetrics()
    async with Sources(kafka, settings, codec, brands) as sources, entered(brands.follow()):
        with ApiKeyReader(kafka, codec).follow() as keys:
            endpoint = FeedEndpoint(
                sources=sources,
                keys=keys,
                metrics=metrics,
                clock=lambda: datetime.now(UTC),
                stopping=stopping,
            )
            api = HttpApi(
                routes=routes_of(endpoint),
                registry=metrics.registry,
                faults=lambda: {**broker.faults(), **keys.faults(), **sources.faults()},
            )
            await listeners.serve_api(
                api, stopping, drain=_DRAIN, limits=_LIMITS, beside=(broker.run, sources.run)
            )
