"""Where the feeds read from: the end of each topic in memory, older records from Kafka.

What clients at the end of a topic read is followed into memory. One consumer follows every
partition, however many clients wait. Of each partition the most recent records are kept: bounded in
bytes, and for an hour at most, for they are personal data. What is older is read from Kafka
(``older_records``). They belong to the event loop: a thread reads, and hands over there what it has
read.

Topics are known by their ids. They are asked for all the time, so that a cursor of a topic that was
deleted and created again is refused, and what was read of the former one is forgotten.

A record is shown as JSON: the fields of its contract, flat, beside where it is.

    {"id": "…", "topic": "…", "partition": 3, "offset": 17, "key": "100001/MESAJ/…", …}

A tombstone of a state is ``"deleted": true`` beside its key. A record that this release cannot read
is ``"unreadable": true`` beside its key: what it is about is known, and an opt-out is not left out.

A key of the API sees what is of its customers, brands and channels. Whose a brand is says the
registered brand, in what is shown too. A brand may have been registered just before a record of it:
until the topic of brands was read to where it was then, nobody skips the record.
"""

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial
from operator import attrgetter
from time import monotonic, time
from typing import Any, NamedTuple, Self

import orjson
from confluent_kafka import KafkaException, Message
from confluent_kafka.admin import OffsetSpec

from izin.consent import UnreadableKeyError
from izin.feeds.older_records import OlderRecords
from izin.feeds.protocol import Feed, LogIdentity, LogRecord, Stretch, feeds
from izin.kafka.clients import (
    TIMEOUT,
    access_of,
    admin,
    broker_errors,
    committed_ends,
    identities,
    offsets,
)
from izin.kafka.follower import RecordFollower
from izin.kafka.tables.api_keys import outside
from izin.kafka.tables.brand_directory import NOBODY, BrandReader, customer_of
from izin.kafka.tables.latest_records import Wakeup
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.api_keys import ApiKey
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.records import UNREADABLE, fields_of_key
from izin.schemas.topics import Topic

CURRENT_FOR = 10.0
"""Seconds: so long ago may be what was read in full."""
_POLL = 0.2
_RETRY_AFTER = 1.0
_ENDS_WITHIN = 3.0
REMEMBERED_FOR = timedelta(hours=1)
"""For so long records stay in memory, however few there are."""
_ASKED_EVERY = 2.0
_ASKED_WITHIN = 5.0

POSITION_FIELDS: Mapping[str, str] = {
    "id": "Identifies the record: a repeated one has the same.",
    "topic": "The topic that it is from.",
    "partition": "Its partition.",
    "offset": "Its offset. Of two records of a key, the later one has the greater.",
    "key": "brand_code/type/recipient_type/recipient. Personal data.",
}
"""What every item has, and what it means."""
DELETED = "deleted"


class Undecided(Enum):
    """What is not known yet of a record."""

    UNDECIDED = "undecided"


UNDECIDED = Undecided.UNDECIDED

_log = get_logger(__name__)


class FeedItem(NamedTuple):
    """What readers get of a record, and who they are."""

    brand_code: int
    channel: str
    customer_id: str
    """Whose the brand was when this was made."""
    origin: str | None
    json: bytes


class Items:
    """Makes the items of one feed."""

    def __init__(self, feed: Feed, codec: Codec, brands: BrandReader) -> None:
        self._feed = feed
        self._codec = codec
        self._brands = brands
        self._customers = brands.directory.customers

    def of(
        self, record: LogRecord, key: ApiKey, origin: str | None = None
    ) -> bytes | Undecided | None:
        """Return ``record`` as JSON; None where it is not for the holder of ``key``, or not of the
        ``origin``, and ``UNDECIDED`` while its brand may have been registered unseen. Raises
        OurError where its schema cannot be fetched now.
        """
        item = record.item
        if item is None or (
            item and item.customer_id != customer_of(self._customers, item.brand_code)
        ):
            item = record.item = self._made(record) or False
        if not item:
            return None
        if item.customer_id == NOBODY:
            is_known = self._brands.complete_at() >= record.appended_by
            return None if is_known else UNDECIDED
        is_outside = outside(
            key, customer_id=item.customer_id, brand_code=item.brand_code, channel=item.channel
        )
        is_other = origin is not None and item.origin not in {origin, None}
        return None if is_outside or is_other else item.json

    def _made(self, record: LogRecord) -> FeedItem | None:
        """Return the item of ``record``; None: it is nobody's."""
        if record.key.startswith(SUPPRESSED):
            return None
        if record.value is None and self._feed.is_compacted:
            return self._without_content(record, DELETED)
        try:
            content = self._codec.decode(self._feed.topic.record, record.value or b"")
        except UndecodableError as error:
            _log.error("record not readable", **_place(self._feed, record), error=str(error))
            return self._without_content(record, UNREADABLE)
        return self._item(record, content, content)

    def _without_content(self, record: LogRecord, what: str) -> FeedItem | None:
        try:
            known = fields_of_key(record.key.decode("utf-8", "replace"))
        except UnreadableKeyError:
            _log.error("key not readable", **_place(self._feed, record))
            return None
        return self._item(record, known, {what: True})

    def _item(
        self, record: LogRecord, about: Mapping[str, Any], shown: Mapping[str, Any]
    ) -> FeedItem:
        place = _place(self._feed, record)
        customer_id = customer_of(self._customers, about["brand_code"])
        said = {
            "id": record.record_id or "/".join(map(str, place.values())),
            **place,
            "key": record.key.decode("utf-8", "replace"),
            **shown,
        }
        if "customer_id" in shown:
            said["customer_id"] = customer_id
        return FeedItem(
            brand_code=about["brand_code"],
            channel=about["type"],
            customer_id=customer_id,
            origin=shown.get("origin"),
            # Copied, as ``webhooks.events.body_of`` does, and why.
            json=bytes(memoryview(orjson.dumps(said, option=orjson.OPT_UTC_Z))),
        )


def _place(feed: Feed, record: LogRecord) -> dict[str, Any]:
    return {
        "topic": feed.topic.name,
        "partition": record.partition,
        "offset": record.offset,
    }


class RecentRecords:
    """The latest records of one partition, from ``start`` up to ``end``."""

    def __init__(self, most_bytes: int) -> None:
        self.start: int | None = None
        """The first offset that it covers; None: not known yet."""
        self.end = 0
        self._most = most_bytes
        self._size = 0
        self._records: list[LogRecord] = []
        self._first = 0
        """The place of the oldest record that was not dropped."""

    def reset(self) -> None:
        """Forget everything: what comes next may be anywhere."""
        self.start, self.end, self._size, self._first = None, 0, 0, 0
        self._records.clear()

    def add(self, record: LogRecord) -> None:
        """Append the next record."""
        if self.start is not None and record.offset < self.end:
            # The log was cut behind us: what is here may not be there any more.
            self.reset()
        if self.start is None:
            self.start = record.offset
        self._records.append(record)
        self._size += record.size
        self.end = record.offset + 1
        while self._size > self._most:
            self._drop()

    def reach(self, end: int) -> None:
        """Note that there is no other record below ``end``."""
        if self.start is None or end < self.end:
            self.reset()
            self.start = end
        self.end = end

    def drop_before(self, milliseconds: int) -> None:
        """Drop the records that were written before an instant, in milliseconds since 1970."""
        while self._first < len(self._records):
            if self._records[self._first].timestamp >= milliseconds:
                break
            self._drop()
        self._cut()

    def covers(self, offset: int) -> bool:
        """Whether everything from ``offset`` on is here."""
        return self.start is not None and self.start <= offset <= self.end

    def read(self, offset: int, most: int) -> Stretch:
        """Return up to ``most`` records from ``offset`` on, which it covers."""
        begin = bisect_left(self._records, offset, self._first, key=attrgetter("offset"))
        found = self._records[begin : begin + most]
        whole = begin + len(found) == len(self._records)
        return Stretch(found, self.end if whole else found[-1].offset + 1, whole)

    def _drop(self) -> None:
        dropped = self._records[self._first]
        self._size -= dropped.size
        self._first += 1
        self.start = dropped.offset + 1
        if self._first * 2 > len(self._records):
            self._cut()

    def _cut(self) -> None:
        """Free what was dropped."""
        del self._records[: self._first]
        self._first = 0


class Tail:
    """Follows ``topic`` from its end on.

    The records of all partitions take ``most_bytes`` of memory together.
    """

    def __init__(
        self, settings: KafkaSettings, topic: Topic, partitions: int, *, most_bytes: int
    ) -> None:
        self.recent: Mapping[int, RecentRecords] = {
            number: RecentRecords(most_bytes // partitions) for number in range(partitions)
        }
        self.changed = Wakeup()
        self._settings = settings
        self._topic = topic
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._follower: RecordFollower | None = None
        self._taken: list[LogRecord] = []
        """What was read and is not handed over."""
        self._made_at = monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether it is followed, and the end of every partition is known."""
        is_followed = self._thread is not None and self._thread.is_alive()
        return is_followed and all(recent.start is not None for recent in self.recent.values())

    def is_current(self) -> bool:
        """Whether everything was read that there was a few seconds ago."""
        read_at = self._made_at
        if self._follower is not None:
            read_at = max(read_at, min(map(self._follower.complete_at, self.recent)))
        return monotonic() - read_at < CURRENT_FOR

    def ends(self) -> dict[int, int] | None:
        """Return up to where each partition was read; None while that is not known of all."""
        return {number: one.end for number, one in self.recent.items()} if self.is_ready else None

    def start(self) -> None:
        """Follow the topic until :meth:`stop`; within a running event loop."""
        self._thread = threading.Thread(
            target=self._follow,
            args=(asyncio.get_running_loop(),),
            name=f"tail {self._topic.name}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end soon. It is not waited for, as it may wait for this very loop."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the thread that was stopped, while the event loop goes on."""
        if self._thread is not None:
            self._thread.join(_ENDS_WITHIN)

    def add(self, records: Iterable[LogRecord], positions: Mapping[int, int]) -> None:
        """Add what was read, and note up to where each partition was read by then."""
        for record in records:
            self.recent[record.partition].add(record)
        for number, position in positions.items():
            self.recent[number].reach(position)
        self.changed.notify()

    def forget(self) -> None:
        """Forget everything: from now on the topic is read from another place."""
        for recent in self.recent.values():
            recent.reset()

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopped.is_set():
            try:
                ends = committed_ends(self._settings, self._topic.name)
                self._call(loop, self.forget)
                follower = self._follower = RecordFollower(
                    access_of(self._settings),
                    self._topic,
                    self,
                    starts=ends,
                    moved=partial(self._hand_over, loop),
                )
                with follower.follow(complete=False):
                    self._stopped.wait()
            except BrokerError as error:
                _log.warning("topic not followed", topic=self._topic.name, error=str(error))
                self._stopped.wait(_RETRY_AFTER)

    def take(self, records: Sequence[Message]) -> int:
        """Take all of ``records``, in the thread of the follower."""
        self._taken.extend(map(LogRecord, records))
        return len(records)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over what was taken, with up to where the topic was read."""
        records, self._taken = self._taken, []
        if self._follower is not None:
            self._call(loop, partial(self.add, records, dict(self._follower.positions)))

    def _call(self, loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
        """Have ``work`` done in the event loop, and wait for it: the loop is never flooded."""
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        try:
            loop.call_soon_threadsafe(run)
        except RuntimeError:  # the loop has ended
            self._stopped.set()
        while not done.wait(_POLL) and not self._stopped.is_set():
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSource:
    """A feed of one topic, and where its records come from."""

    feed: Feed
    identity: LogIdentity
    tail: Tail
    older: OlderRecords
    items: Items


class Sources:
    """The sources of all feeds of a process. An async context manager."""

    def __init__(
        self, kafka: KafkaSettings, settings: FeedsSettings, codec: Codec, brands: BrandReader
    ) -> None:
        self.feeds = feeds(kafka.topics)
        self._admin = admin(kafka)
        self._kafka = kafka
        self._codec = codec
        self._brands = brands
        self._older = OlderRecords(kafka, readers=settings.readers)
        self._memory = settings.memory // len(self.feeds)
        self._sources: dict[str, FeedSource] = {}

    async def __aenter__(self) -> Self:
        """Begin to follow the topics; raises BrokerError where Kafka does not know them."""
        with broker_errors(self._kafka):
            found = await self._found(TIMEOUT)
        for feed in self.feeds:
            self._open(feed, found[feed.name])
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
        """Return the first offset of each partition; raises BrokerError."""
        topic = source.feed.topic.name
        places = [(topic, number) for number in range(source.identity.partitions)]
        try:
            found = await in_daemon_thread(
                lambda: offsets(self._admin, places, OffsetSpec.earliest()), name="feed offsets"
            )
        except KafkaException as error:
            raise BrokerError(f"{topic}: {error.args[0].str()}") from error
        return {number: offset for (_, number), offset in found.items()}

    async def run(self) -> None:
        """Watch topics, and drop what has become old, until cancelled."""
        while True:
            await self.look()
            self.drop_older(time() - REMEMBERED_FOR.total_seconds())
            await asyncio.sleep(_ASKED_EVERY)

    def drop_older(self, than: float) -> None:
        """Drop what was written before the instant ``than``, in seconds since 1970."""
        for source in self._sources.values():
            for recent in source.tail.recent.values():
                recent.drop_before(int(than * 1000))

    async def look(self) -> None:
        """Look once which topics there are."""
        try:
            found = await self._found(_ASKED_WITHIN)
        except KafkaException as error:
            _log.debug("topics not found", error=error.args[0].str())
            return
        for feed in self.feeds:
            if found[feed.name] != self._sources[feed.name].identity:
                _log.warning("topic is another", topic=feed.topic.name)
                self._sources[feed.name].tail.stop()
                self._open(feed, found[feed.name])

    async def _found(self, within: float) -> Mapping[str, LogIdentity]:
        """Return by feed which topic it has now; raises KafkaException."""
        names = {one.name: one.topic.name for one in self.feeds}
        found = await in_daemon_thread(
            lambda: identities(self._admin, names.values(), timeout=within), name="feed topics"
        )
        return {
            feed: LogIdentity(
                cluster_id=found.cluster_id,
                topic_id=found.topic_ids[topic],
                partitions=found.partitions[topic],
            )
            for feed, topic in names.items()
        }

    def _open(self, feed: Feed, identity: LogIdentity) -> None:
        """Follow the topic of ``feed``, which has this ``identity`` now."""
        tail = Tail(self._kafka, feed.topic, identity.partitions, most_bytes=self._memory)
        tail.start()
        self._sources[feed.name] = FeedSource(
            feed=feed,
            identity=identity,
            tail=tail,
            older=self._older,
            items=Items(feed, self._codec, self._brands),
        )
