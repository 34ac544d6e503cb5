"""The lag of a consumer: how many records of a topic are unread, and how long the oldest waits.

The count is of offsets, of which transaction markers take some, so it is approximate. Whether
anything waits, and since when, is exact: the first record behind the reader is read.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Message

from izin.kafka.bounded_reader import BoundedReader
from izin.runtime.kafka import broker_errors
from izin.runtime.settings import KafkaSettings
from izin.schemas.topics import Topic

TopicAndPartition = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Records that wait to be read."""

    records: int
    """Their approximate number."""
    oldest_at: datetime | None
    """When the oldest was written; None: nothing waits."""
    partitions: frozenset[int] = frozenset()
    """Where they wait."""


def unread(
    settings: KafkaSettings, topic: Topic, positions: Mapping[TopicAndPartition, int]
) -> Unread:
    """Return what of ``topic`` follows ``positions``, or its beginning where there is none.

    Raises:
        BrokerError: Kafka cannot be read.
    """
    heads: dict[int, Message] = {}
    with reading(settings, topic) as reader:
        bounds = reader.bounds()
        starts = {
            number: start
            for number, (first, end) in bounds.items()
            if (start := max(first, positions.get((topic.name, number), first))) < end
        }
        ends = {number: bounds[number][1] for number in starts}
        count = sum(ends.values()) - sum(starts.values())
        for messages in reader.read(starts, ends):
            for message in messages:
                if (number := message.partition() or 0) not in heads:
                    heads[number] = message
                    reader.leave(number)
    if not heads:
        return Unread(records=0, oldest_at=None)
    oldest = min(message.timestamp()[1] for message in heads.values())
    return Unread(
        records=count,
        oldest_at=datetime.fromtimestamp(oldest / 1000, UTC),
        partitions=frozenset(heads),
    )


@contextmanager
def reading(settings: KafkaSettings, topic: Topic) -> Iterator[BoundedReader]:
    """Provide a reader of ``topic`` for the block; raises BrokerError."""
    with (
        broker_errors(settings),
        closing(BoundedReader(settings, "izin-console-reader", topic.name)) as reader,
    ):
        yield reader
