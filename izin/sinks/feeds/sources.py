"""Where the feeds read from: a follower of each topic, begun anew where the topic is another.

Topics are known by their ids. They are asked for all the time, so that a cursor of a topic that was
deleted and created again is refused, and what was read of the former one is forgotten. So are their
ends: a process that reads nothing does not notice by itself that there is something to read, and an
empty page would say that nobody has opted out.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Self

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.runtime.kafka import admin, broker_errors
from izin.runtime.observe import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.runtime.topic_admin import TopicIdentities, identities, offsets
from izin.schemas.codec import Codec
from izin.sinks.feeds.items import Brands, Items
from izin.sinks.feeds.log import Feed, LogIdentity, UnreachableLogError, feeds
from izin.sinks.feeds.older_records import OlderRecords
from izin.sinks.feeds.reading import FeedSource
from izin.sinks.feeds.tail import Tail

REMEMBERED_FOR = timedelta(hours=1)
"""For so long records stay in memory, however few there are."""
CURRENT_FOR = 10.0
"""Seconds: so long ago may be what was read in full."""
_ASKED_EVERY = 2.0
_ASKED_WITHIN = 5.0

_log = get_logger(__name__)


class Sources:
    """The sources of all feeds of a process. An async context manager."""

    def __init__(
        self, kafka: KafkaSettings, settings: FeedsSettings, codec: Codec, brands: Brands
    ) -> None:
        self.identities: TopicIdentities
        """Of the topics of the feeds, and of those before them."""
        self.admin: AdminClient = admin(kafka)
        topics = kafka.topics
        self.feeds = feeds(topics)
        self._kafka = kafka
        self._codec = codec
        self._brands = brands
        self._older = OlderRecords(kafka, readers=settings.readers)
        self._memory = settings.memory // len(self.feeds)
        self._names = [
            *(one.topic.name for one in self.feeds),
            *(one.name for one in (topics.events, topics.express, topics.decisions)),
        ]
        self._sources: dict[str, FeedSource] = {}
        self._following: dict[str, ExitStack] = {}
        self._asked: dict[str, tuple[float, Mapping[int, int]]] = {}
        """By feed: the ends of its topic, and when they were asked for."""
        self._current_at: dict[str, float] = {}
        """By feed: when everything that there was by then is known to be read."""

    async def __aenter__(self) -> Self:
        """Begin to follow the topics; raises BrokerError where Kafka does not know them."""
        self.identities = await in_daemon_thread(self._first_identities, name="feed topics")
        for feed in self.feeds:
            self._open(feed)
        return self

    async def __aexit__(self, *_: object) -> None:
        for following in self._following.values():
            following.close()
        for source in self._sources.values():
            await in_daemon_thread(source.tail.join, name="feed end")
        await self._older.close()

    def of(self, feed: Feed) -> FeedSource:
        """Return the source of ``feed``."""
        return self._sources[feed.name]

    def faults(self) -> Mapping[str, str]:
        """Return which feeds are not ready."""
        found = {}
        for feed in self.feeds:
            if not self.of(feed).tail.is_ready:
                found[f"feed {feed.name}"] = "its end is not known yet"
            elif not self.is_current(feed):
                found[f"feed {feed.name}"] = "is behind its topic"
        return found

    def is_current(self, feed: Feed) -> bool:
        """Whether everything was read that there was a few seconds ago."""
        return time.monotonic() - self._current_at[feed.name] < CURRENT_FOR

    async def beginnings(self, source: FeedSource) -> dict[int, int]:
        """Return the first offset of each partition; raises UnreachableLogError."""
        topic, partitions = source.feed.topic.name, range(source.identity.partitions)
        try:
            found = await in_daemon_thread(
                lambda: offsets(self.admin, topic, partitions, OffsetSpec.earliest()),
                name="feed beginnings",
            )
        except KafkaException as error:
            raise UnreachableLogError(f"{topic}: {error.args[0].str()}") from error
        return dict(found)

    async def run(self) -> None:
        """Watch topics and their ends, and drop what has become old, until cancelled."""
        while True:
            await self.look()
            await self.look_at_ends()
            self.drop_older(time.time() - REMEMBERED_FOR.total_seconds())
            await asyncio.sleep(_ASKED_EVERY)

    def drop_older(self, than: float) -> None:
        """Drop what was written before the instant ``than``, in seconds since 1970."""
        for source in self._sources.values():
            source.tail.drop_before(int(than * 1000))

    async def look(self) -> None:
        """Look once which topics there are."""
        try:
            found = await in_daemon_thread(
                lambda: identities(self.admin, self._names, timeout=_ASKED_WITHIN),
                name="feed topics",
            )
        except KafkaException as error:
            _log.debug("topics not found", error=error.args[0].str())
            return
        self.identities = found
        for feed in self.feeds:
            if self._identity(feed) != self._sources[feed.name].identity:
                _log.warning("topic is another", topic=feed.topic.name)
                self._open(feed)

    async def look_at_ends(self) -> None:
        """Note which feeds have come to the ends of last time, and ask for the present ones."""
        for feed in self.feeds:
            source = self._sources[feed.name]
            asked_at, ends = self._asked.get(feed.name, (0.0, {}))
            recent = source.tail.recent
            if ends and all(recent[number].end >= end for number, end in ends.items()):
                self._current_at[feed.name] = asked_at
            now, topic = time.monotonic(), feed.topic.name
            try:
                found = await in_daemon_thread(
                    partial(
                        offsets,
                        self.admin,
                        topic,
                        range(source.identity.partitions),
                        OffsetSpec.latest(),
                        IsolationLevel.READ_COMMITTED,
                    ),
                    name="feed ends",
                )
            except KafkaException as error:
                _log.debug("ends not found", topic=topic, error=error.args[0].str())
            else:
                self._asked[feed.name] = now, found

    def _first_identities(self) -> TopicIdentities:
        with broker_errors(self._kafka):
            return identities(self.admin, self._names)

    def _identity(self, feed: Feed) -> LogIdentity:
        name = feed.topic.name
        return LogIdentity(
            cluster_id=self.identities.cluster_id,
            topic_id=self.identities.topic_ids[name],
            partitions=self.identities.partitions[name],
        )

    def _open(self, feed: Feed) -> None:
        """Follow the topic of ``feed``, from now on by its present identity."""
        identity, before = self._identity(feed), self._following.pop(feed.name, None)
        if before is not None:
            before.close()
        tail = Tail(self._kafka, feed.topic, identity.partitions, most_bytes=self._memory)
        self._asked.pop(feed.name, None)
        self._current_at[feed.name] = time.monotonic()
        following = self._following[feed.name] = ExitStack()
        following.enter_context(tail.following())
        self._sources[feed.name] = FeedSource(
            feed=feed,
            identity=identity,
            tail=tail,
            older=self._older,
            items=Items(feed, self._codec, self._brands),
        )
