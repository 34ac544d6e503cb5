"""Reading topics by partition and offset for webhooks: clients, ends, and what topics are."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from izin.kafka.partition_client import Place, partition_client
from izin.runtime.kafka import TIMEOUT, partition_watermarks
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.sinks.ingest.topic_reader import available
from izin.sinks.record.errors import StreamUnavailableError

_GROUP = "izin-webhooks"
_BOUNDED = {
    "fetch.wait.max.ms": 100,
    # What librdkafka may fetch ahead, and of each partition at a time: compressed records grow
    # tenfold when they are unpacked, and a process has many readers.
    "queued.max.messages.kbytes": 2 * 1024,
    "fetch.message.max.bytes": 64 * 1024,
}


def places_of(found: TopicIdentities) -> list[Place]:
    """Return every partition of these topics."""
    return [(topic, one) for topic, count in found.partitions.items() for one in range(count)]


@dataclass(slots=True)
class PartitionReader:
    """A consumer of chosen partitions from chosen offsets. Blocking calls run in threads."""

    settings: KafkaSettings
    _client: Consumer | None = None
    _polling: asyncio.Future[Sequence[Message]] | None = None
    positions: dict[Place, int] = field(default_factory=dict)
    """The next offset of each partition; also behind records that are none."""

    async def open(self, positions: Mapping[Place, int]) -> None:
        """Read from ``positions``."""
        await self.close()
        self.positions = dict(positions)
        self._client = partition_client(self.settings, _GROUP, positions, **_BOUNDED)

    async def poll(self, most: int, wait: float) -> Sequence[Message]:
        """Return the available records, at most ``most``, as soon as there is one; none after
        ``wait`` seconds. Positions are behind them then. Raises StreamUnavailableError.
        """
        self._polling = asyncio.ensure_future(asyncio.to_thread(self._poll, most, wait))
        records = await asyncio.shield(self._polling)
        found = []
        for one in records:
            place, offset = (one.topic() or "", one.partition() or 0), one.offset() or 0
            if one.error() is None:
                found.append(one)
                self.positions[place] = offset + 1
            else:
                self.positions[place] = max(offset, self.positions.get(place, 0))
        return found

    def _poll(self, most: int, wait: float) -> Sequence[Message]:
        client = self._client
        if client is None:
            return ()
        return available(client, most, wait, what="webhooks")

    async def close(self) -> None:
        """Close the consumer, once the thread of a poll that was cancelled has ended."""
        client, self._client = self._client, None
        if self._polling is not None:
            await asyncio.gather(self._polling, return_exceptions=True)
            self._polling = None
        if client is not None:
            await asyncio.to_thread(client.close)


def bounds(settings: KafkaSettings, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
    """Return the first offset that is kept and the last stable one of each of ``places``.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    client = partition_client(settings, _GROUP, {})
    try:
        return {place: partition_watermarks(client, TopicPartition(*place)) for place in places}
    except KafkaException as error:
        raise StreamUnavailableError(f"webhooks: {error.args[0].str()}") from error
    finally:
        client.close()


def offsets_at(
    settings: KafkaSettings, places: Iterable[Place], at: datetime
) -> dict[Place, int | None]:
    """Return the first offset appended at ``at`` or later of each of ``places``; None: none is.

    Raises:
        StreamUnavailableError: Kafka does not answer.
    """
    client = partition_client(settings, _GROUP, {})
    asked = [TopicPartition(topic, one, round(at.timestamp() * 1000)) for topic, one in places]
    try:
        found = client.offsets_for_times(asked, timeout=TIMEOUT)
    except KafkaException as error:
        raise StreamUnavailableError(f"webhooks: {error.args[0].str()}") from error
    finally:
        client.close()
    return {(one.topic, one.partition): one.offset if one.offset >= 0 else None for one in found}
