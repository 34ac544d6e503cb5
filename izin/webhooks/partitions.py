"""Topics by partition and offset, for webhooks: what is kept, where cursors begin, and a reader.

A lane of a subscriber knows how far it was read, and what of that is not acknowledged.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from izin.kafka.bounded_reader import Place, partition_client
from izin.kafka.clients import TIMEOUT, TopicIdentities, partition_watermarks
from izin.ledger.record import StreamUnavailableError
from izin.ledger.webhooks.registry import DeliveryCursor, LaneName
from izin.runtime.settings import KafkaSettings
from izin.sinks.ingest.ingested_topics import available, identities_of
from izin.webhooks.events import WebhookEvent, lanes

Bounds = Mapping[Place, tuple[int, int]]
"""Of partitions: the first offset that is kept, and the last stable one."""

_GROUP = "izin-webhooks"
_BOUNDED = {"queued.max.messages.kbytes": 2 * 1024}
"""A process has many readers."""


@dataclass(slots=True)
class PartitionReader:
    """A consumer of chosen partitions from chosen offsets. Blocking calls run in threads."""

    settings: KafkaSettings
    _client: Consumer | None = None
    _polling: asyncio.Future[Sequence[Message]] | None = None
    positions: dict[Place, int] = field(default_factory=dict)
    """The next offset of each partition; also behind records that are none."""
    moved_at: float = 0.0
    """When something was read last, by the monotonic clock."""

    async def open(self, positions: Mapping[Place, int]) -> None:
        """Read from ``positions``."""
        await self.close()
        self.positions, self.moved_at = dict(positions), monotonic()
        self._client = partition_client(self.settings, _GROUP, positions, **_BOUNDED)

    async def poll(self, most: int, wait: float) -> Sequence[Message]:
        """Return the available records, at most ``most``, as soon as there is one; none after
        ``wait`` seconds. Positions are behind them then. Raises StreamUnavailableError.
        """
        client = self._client
        if client is None:
            return ()
        reading = asyncio.to_thread(available, client, most, wait, what="webhooks")
        self._polling = asyncio.ensure_future(reading)
        records = await asyncio.shield(self._polling)
        found = []
        if records:
            self.moved_at = monotonic()
        for record in records:
            place, offset = (record.topic() or "", record.partition() or 0), record.offset() or 0
            if record.error() is None:
                found.append(record)
                self.positions[place] = offset + 1
            else:
                self.positions[place] = max(offset, self.positions.get(place, 0))
        return found

    async def close(self) -> None:
        """Close the consumer, once the thread of a poll that was cancelled has ended."""
        client, self._client = self._client, None
        if self._polling is not None:
            await asyncio.gather(self._polling, return_exceptions=True)
            self._polling = None
        if client is not None:
            await asyncio.to_thread(client.close)


@contextmanager
def _client(settings: KafkaSettings) -> Iterator[Consumer]:
    """Yield a consumer of nothing; raises StreamUnavailableError where Kafka does not answer it."""
    client = partition_client(settings, _GROUP, {})
    try:
        yield client
    except KafkaException as error:
        raise StreamUnavailableError(f"webhooks: {error.args[0].str()}") from error
    finally:
        client.close()


def bounds(settings: KafkaSettings, places: Iterable[Place]) -> Bounds:
    """Return the first offset that is kept and the last stable one of each of ``places``.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    with _client(settings) as client:
        return {place: partition_watermarks(client, TopicPartition(*place)) for place in places}


def ends(settings: KafkaSettings, places: Collection[Place]) -> dict[Place, int]:
    """Return the last stable offset of each of ``places``, which each broker is asked for at once.

    Raises:
        StreamUnavailableError: Kafka does not answer, or does not know one of them.
    """
    with _client(settings) as client:
        asked = [TopicPartition(*place, OFFSET_END) for place in places]
        found = client.offsets_for_times(asked, timeout=TIMEOUT) if asked else []
        for error in [one.error for one in found if one.error is not None]:
            raise KafkaException(error)
    return {(one.topic, one.partition): one.offset for one in found}


def topic_bounds(
    settings: KafkaSettings, topics: Collection[str]
) -> tuple[TopicIdentities, Bounds]:
    """Return what these topics are, and the bounds of each of their partitions; raises as
    ``bounds``.
    """
    found = identities_of(settings, topics)
    places = [(topic, one) for topic, count in found.partitions.items() for one in range(count)]
    return found, bounds(settings, places)


def offsets_at(settings: KafkaSettings, kept: Bounds, at: datetime) -> dict[Place, int]:
    """Return the first offset appended at ``at`` or later of each partition that is ``kept``; its
    end where none is. Raises as ``bounds``.
    """
    asked = [TopicPartition(topic, one, round(at.timestamp() * 1000)) for topic, one in kept]
    with _client(settings) as client:
        found = client.offsets_for_times(asked, timeout=TIMEOUT)
    offsets = {(partition.topic, partition.partition): partition.offset for partition in found}
    return {
        place: end if offsets[place] < 0 else min(max(offsets[place], start), end)
        for place, (start, end) in kept.items()
    }


def cursor_of(
    lane: str, place: Place, found: TopicIdentities, at: int, end: int | None = None
) -> DeliveryCursor:
    """Return a cursor that is ``at`` an offset of a partition, of nobody yet."""
    return DeliveryCursor(
        lane=lane,
        topic=place[0],
        partition=place[1],
        cluster_id=found.cluster_id,
        topic_id=found.topic_ids[place[0]],
        next_offset=at,
        end_offset=end,
    )


def cursors_at_end(settings: KafkaSettings) -> list[DeliveryCursor]:
    """Return the cursors of a subscriber that gets what comes from now on; raises as ``bounds``."""
    cursors = []
    for lane, topics in lanes(settings.topics).items():
        found, kept = topic_bounds(settings, topics)
        cursors += [cursor_of(lane, place, found, end) for place, (_, end) in kept.items()]
    return cursors


@dataclass(slots=True, eq=False)
class PendingDelivery:
    """An event that a subscriber has not acknowledged."""

    event: WebhookEvent
    lane: "DeliveryLane"
    attempts: int = 0


@dataclass(slots=True, eq=False)
class DeliveryLane:
    """Positions and open offsets of one lane of one subscriber."""

    subscriber_id: int
    name: str
    resend_id: int = 0
    """Of the resend that it is a part of; 0: it is always followed."""
    positions: dict[Place, int] = field(default_factory=dict)
    """The offset after the last one that was read."""
    ends: dict[Place, int] = field(default_factory=dict)
    """Where a resend ends; empty: it has no end."""
    open: dict[Place, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Read, and not acknowledged."""
    count: int = 0
    """How many are open."""
    is_reopened: bool = True
    """Whether what was open at the start is being delivered again."""
    _dirty: set[Place] = field(default_factory=set)

    @classmethod
    def of(cls, subscriber_id: int, name: str, cursors: Iterable[DeliveryCursor]) -> "DeliveryLane":
        """Return the lane that these cursors of it describe."""
        lane = cls(subscriber_id, name)
        for cursor in cursors:
            lane.resend_id = cursor.resend_id
            lane.positions[cursor.place] = cursor.next_offset
            if cursor.end_offset is not None:
                lane.ends[cursor.place] = cursor.end_offset
            if cursor.open_offsets:
                lane.open[cursor.place] = set(cursor.open_offsets)
                lane.count += len(cursor.open_offsets)
                lane.is_reopened = False
        return lane

    @property
    def is_read(self) -> bool:
        """Whether it has an end, and was read up to that."""
        return bool(self.ends) and all(
            self.positions[place] >= end for place, end in self.ends.items()
        )

    @property
    def is_done(self) -> bool:
        """Whether it was read to its end, and everything of it is acknowledged."""
        return self.is_read and not self.count

    def has(self, place: Place, offset: int) -> bool:
        """Whether a record is acknowledged, or was none for the subscriber: it was read, and is not
        open. Of a partition that the lane does not read it is.
        """
        position = self.positions.get(place)
        return position is None or (offset < position and offset not in self.open.get(place, ()))

    def add(self, event: WebhookEvent) -> PendingDelivery:
        """Note that ``event`` was read, and is to be delivered."""
        self.open[event.place].add(event.offset)
        self.count += 1
        self.move(event.place, event.offset + 1)
        return PendingDelivery(event, self)

    def move(self, place: Place, position: int) -> None:
        """Note that a partition was read up to ``position``."""
        if position > self.positions.get(place, -1):
            self.positions[place] = position
            self._dirty.add(place)

    def move_all(self, positions: Mapping[Place, int]) -> None:
        """Note how far each partition was read."""
        for place, position in positions.items():
            self.move(place, position)

    def close(self, place: Place, offset: int) -> None:
        """Note that an open record is acknowledged, or is gone."""
        if offset in self.open[place]:
            self.open[place].discard(offset)
            self.count -= 1
            self._dirty.add(place)

    def moves(self, *, also_read: bool) -> Iterator[DeliveryCursor]:
        """Yield the partitions that changed since the last time, as they are now.

        Without ``also_read`` only where something of them is, or was, open.
        """
        for place in [one for one in self._dirty if also_read or one in self.open]:
            self._dirty.discard(place)
            yield self._move(place)

    def _move(self, place: Place) -> DeliveryCursor:
        open_ = tuple(sorted(self.open.get(place, ())))
        if not open_:
            self.open.pop(place, None)
        return DeliveryCursor(
            subscriber_id=self.subscriber_id,
            lane=self.name,
            topic=place[0],
            partition=place[1],
            next_offset=self.positions[place],
            open_offsets=open_,
            resend_id=self.resend_id,
        )

    def restore(self, move: DeliveryCursor) -> None:
        """Note that ``move`` could not be written: it is to be written again."""
        self._dirty.add(move.place)
        self.open[move.place]  # so that the next write has it, though nothing of it is open


def lanes_of(subscriber_id: int, cursors: Sequence[DeliveryCursor]) -> list[DeliveryLane]:
    """Return the lanes of a subscriber that has these cursors, in the order of their names."""
    by_name = {name: [cursor for cursor in cursors if cursor.lane == name] for name in LaneName}
    return [DeliveryLane.of(subscriber_id, name, some) for name, some in by_name.items() if some]
