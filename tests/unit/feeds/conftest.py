"""An endpoint over topics in memory.

A topic in memory, with the gaps that Kafka's offsets have, and what reads it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaError

from izin.feeds.endpoint import FeedEndpoint, FeedMetrics, routes_of as feed_routes
from izin.feeds.older_records import OlderRecords
from izin.feeds.protocol import Feed, LogIdentity, LogRecord, Stretch, feeds
from izin.feeds.sources import FeedSource, Items, Tail
from izin.kafka.bounded_reader import OffsetGoneError
from izin.kafka.tables.api_keys import ApiKeyDirectory
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.runtime.http_server.problems import public_app
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.support.builders import (
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    NOON,
    an_api_key,
    kafka_message,
    known,
)

CODEC = Codec()
OPT_OUTS, PERMISSIONS, OUTCOMES = feeds(Topics())


def a_permission(**overrides: object) -> dict[str, Any]:
    """Return an Avro Permission."""
    return {
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": "+905550000001",
        "may_send": False,
        "reason": "opted-out",
        "desired": "RET",
        "registered": "ONAY",
        "registered_at": NOON,
        "consent_date": None,
        "since": NOON,
    } | overrides


def key_of(permission: Mapping[str, Any]) -> bytes:
    """Return the canonical key of a permission."""
    names = ("brand_code", "type", "recipient_type", "recipient")
    return "/".join(str(permission[one]) for one in names).encode()


def a_message(partition: int, offset: int, **overrides: object) -> Any:  # noqa: ANN401  # a Message
    """Return the message of a permission."""
    value = a_permission(**overrides)
    return kafka_message(
        partition=partition,
        offset=offset,
        value=CODEC.encode("Permission", value),
        key=key_of(value),
    )


def give(tail: Tail, messages: Iterable[Any]) -> None:
    """Have ``tail`` take ``messages``, ends among them, as its follower hands them over."""
    found = tuple(messages)
    positions = {one.partition(): one.offset() + (one.error() is None) for one in found}
    tail.add([LogRecord(one) for one in found if one.error() is None], positions)


def an_end(partition: int, offset: int) -> Any:  # noqa: ANN401  # a Message
    """Return what a consumer says at the end of a partition."""
    error = KafkaError(KafkaError._PARTITION_EOF)
    return kafka_message(partition=partition, offset=offset, error=error)


class KnownBrands:
    """The brands of these customers, which are complete at any time."""

    def __init__(self, customers: Mapping[int, str]) -> None:
        self.directory = BrandDirectory()
        self.complete_at = lambda: float("inf")
        for brand_code, customer_id in customers.items():
            self.put(brand_code, customer_id)

    def put(self, brand_code: int, customer_id: str) -> None:
        """Have a brand belong to a customer."""
        brand = RegisteredBrand(
            brand_code=brand_code, iys_code=1, customer_id=customer_id, name="Example"
        )
        self.directory.put(asdict(brand))


def known_brands(customers: Mapping[int, str]) -> Any:  # noqa: ANN401  # as a BrandReader
    """Return brands that are complete at any time."""
    return KnownBrands(customers)


@dataclass
class FakeLog:
    """The records of each partition, and where it begins and ends."""

    partitions: int
    records: dict[int, list[LogRecord]] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin empty."""
        for number in range(self.partitions):
            self.records.setdefault(number, [])
            self.starts.setdefault(number, 0)
            self.ends.setdefault(number, 0)

    def append(self, message: Any) -> None:  # noqa: ANN401  # a Message
        """Append a record; offsets below it that no record has are gaps."""
        record = LogRecord(message)
        self.records[record.partition].append(record)
        self.ends[record.partition] = record.offset + 1


class FakeOlderRecords(OlderRecords):
    """Reads stretches of a log in memory, as few records at a time as wanted."""

    def __init__(self, log: FakeLog, most: int = 1000) -> None:
        super().__init__(KafkaSettings(), readers=1)
        self.log = log
        self.most = most
        self.reads = 0

    async def read(
        self,
        topic: str,  # noqa: ARG002  # there is one
        starts: Mapping[int, int],
        most: int,
        *,
        name: str,  # noqa: ARG002  # nobody waits
    ) -> Mapping[int, Stretch]:
        """Return what is asked for, each partition its share."""
        self.reads += 1
        share, found = -(-min(most, self.most) // len(starts)), {}
        for number, start in starts.items():
            if not self.log.starts[number] <= start <= self.log.ends[number]:
                raise OffsetGoneError
            there = [one for one in self.log.records[number] if one.offset >= start]
            taken = there[:share]
            whole = len(taken) == len(there)
            last = taken[-1].offset + 1 if taken else start
            found[number] = Stretch(taken, self.log.ends[number] if whole else last, whole)
        return found


def a_source(
    log: FakeLog, *, feed: Feed = PERMISSIONS, memory: int = 10**6, most: int = 1000
) -> FeedSource:
    """Return a source of ``log``, whose tail has read nothing yet."""
    identity = LogIdentity(cluster_id="cluster", topic_id="topic", partitions=log.partitions)
    tail = Tail(KafkaSettings(), feed.topic, log.partitions, most_bytes=memory)
    return FeedSource(
        feed=feed,
        identity=identity,
        tail=tail,
        older=FakeOlderRecords(log, most),
        items=Items(feed, CODEC, known_brands({BRAND: CUSTOMER, BRAND + 1: CUSTOMER})),
    )


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
