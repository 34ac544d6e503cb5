"""Where the feeds read from: the end of each topic, followed anew where the topic is another.

Topics are known by their ids. They are asked for all the time, so that a cursor of a topic that was
deleted and created again is refused, and what was read of the former one is forgotten.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.projections.brand_directory import BrandReader
from izin.runtime.daemon_thread import in_daemon_thread
from izin.runtime.kafka import TIMEOUT, admin, broker_errors
from izin.runtime.observe import get_logger
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.runtime.topic_identity import TopicIdentities, identities
from izin.schemas.codec import Codec
from izin.sinks.feeds.items import Items
from izin.sinks.feeds.log import Feed, LogIdentity, feeds, offsets_of
from izin.sinks.feeds.older_records import OlderRecords
from izin.sinks.feeds.reading import FeedSource
from izin.sinks.feeds.tail import Tail

REMEMBERED_FOR = timedelta(hours=1)
"""For so long records stay in memory, however few there are."""
_ASKED_EVERY = 2.0
_ASKED_WITHIN = 5.0

_log = get_logger(__name__)


class Sources:
    """The sources of all feeds of a process. An async context manager."""

    def __init__(
        self, kafka: KafkaSettings, settings: FeedsSettings, codec: Codec, brands: BrandReader
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

    async def __aenter__(self) -> Self:
        """Begin to follow the topics; raises BrokerError where Kafka does not know them."""
        with broker_errors(self._kafka):
            self.identities = await self._found(TIMEOUT)
        for feed in self.feeds:
            self._open(feed)
        return self

    async def __aexit__(self, *_: object) -> None:
        for source in self._sources.values():
            source.tail.stop()
        for source in self._sources.values():
            await in_daemon_thread(source.tail.join, name="feed end")
        await self._older.close()

    def of(self, feed: Feed) -> FeedSource:
        """Return the source of ``feed``."""
        return self._sources[feed.name]

    def faults(self) -> Mapping[str, str]:
        """Return which feeds are not ready."""
        found = {}
        for name, source in self._sources.items():
            if not source.tail.is_ready:
                found[f"feed {name}"] = "its end is not known yet"
            elif not source.tail.is_current():
                found[f"feed {name}"] = "is behind its topic"
        return found

    async def beginnings(self, source: FeedSource) -> dict[int, int]:
        """Return the first offset of each partition; raises UnreachableLogError."""
        topic, partitions = source.feed.topic.name, range(source.identity.partitions)
        return dict(await offsets_of(self.admin, topic, partitions, OffsetSpec.earliest()))

    async def run(self) -> None:
        """Watch topics, and drop what has become old, until cancelled."""
        while True:
            await self.look()
            self.drop_older(time.time() - REMEMBERED_FOR.total_seconds())
            await asyncio.sleep(_ASKED_EVERY)

    def drop_older(self, than: float) -> None:
        """Drop what was written before the instant ``than``, in seconds since 1970."""
        for source in self._sources.values():
            source.tail.drop_before(int(than * 1000))

    async def look(self) -> None:
        """Look once which topics there are."""
        try:
            self.identities = await self._found(_ASKED_WITHIN)
        except KafkaException as error:
            _log.debug("topics not found", error=error.args[0].str())
            return
        for feed in self.feeds:
            if self._identity(feed) != self._sources[feed.name].identity:
                _log.warning("topic is another", topic=feed.topic.name)
                self._sources[feed.name].tail.stop()
                self._open(feed)

    async def _found(self, within: float) -> TopicIdentities:
        return await in_daemon_thread(
            lambda: identities(self.admin, self._names, timeout=within), name="feed topics"
        )

    def _identity(self, feed: Feed) -> LogIdentity:
        name = feed.topic.name
        return LogIdentity(
            cluster_id=self.identities.cluster_id,
            topic_id=self.identities.topic_ids[name],
            partitions=self.identities.partitions[name],
        )

    def _open(self, feed: Feed) -> None:
        """Follow the topic of ``feed``, from now on by its present identity."""
        identity = self._identity(feed)
        tail = Tail(self._kafka, feed.topic, identity.partitions, most_bytes=self._memory)
        tail.start()
        self._sources[feed.name] = FeedSource(
            feed=feed,
            identity=identity,
            tail=tail,
            older=self._older,
            items=Items(feed, self._codec, self._brands),
        )
