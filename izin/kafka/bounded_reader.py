"""Read the committed records of partitions up to given offsets, or count what is not read yet.

The count is of offsets, of which transaction markers take some, so it is approximate. Whether
anything waits, and since when, is exact: the first record behind the reader is read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.consent import OurError
from izin.kafka import clients
from izin.kafka.connections import is_unreadable, unreadable_error, while_leaders_move
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic

_TIMEOUT = 10.0
_RECORDS_AT_ONCE = 1000
_AHEAD_KB = 4096
_BOUNDED = {
    # What librdkafka may fetch ahead, and of each partition at a time, else 64 MB and one:
    # compressed records grow tenfold, and a topic is read no faster with more.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.message.max.bytes": 64 * 1024,
}
_WAIT = 0.05
"""In seconds, for a record or an end."""
_SPANS = (64, 4096)
"""How far before the end the latest record is looked for, in offsets, before all is read."""
Place = tuple[str, int]
"""A topic and a partition."""


class OffsetGoneError(OurError):
    """The topic has neither a record at the offset to start from nor one before it."""


class BoundedReader:
    """Reads partitions of ``topic``; to be closed."""

    def __init__(self, settings: KafkaSettings, group: str, topic: str) -> None:
        self.positions: dict[int, int] = {}
        """By partition: the offset below which all was read."""
        self._topic = topic
        self._consumer = clients.consumer(
            settings,
            group,
            **{
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # Only an empty fetch shows the end, and the broker holds it back for so long.
                "fetch.wait.max.ms": 10,
                **_BOUNDED,
                "queued.max.messages.kbytes": _AHEAD_KB,
                # Else it would fetch no further for a second once it is so far ahead.
                "fetch.queue.backoff.ms": 5,
            },
        )

    def bounds(self) -> Mapping[int, tuple[int, int]]:
        """Return the first and the last stable offset of each partition. Raises as
        ``kafka.watermarks_of``.
        """
        return clients.watermarks_of(self._consumer, self._topic)

    def ends(self) -> Mapping[int, int]:
        """Return the last stable offset of each partition. Raises as
        ``kafka.watermarks_of``.
        """
        return {number: end for number, (_, end) in self.bounds().items()}

    def since(self, instant: datetime) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Return what to :meth:`read` for the records that were appended at ``instant`` or later:
        where each partition that has any starts, and its end. Raises KafkaException.
        """
        ends, at = self.ends(), int(instant.timestamp() * 1000)
        found = while_leaders_move(self._consumer.offsets_for_times)(
            [TopicPartition(self._topic, number, at) for number in ends], timeout=_TIMEOUT
        )
        return {
            partition.partition: partition.offset for partition in found if partition.offset >= 0
        }, ends

    def every(self, only: Collection[int] | None = None) -> Iterator[Sequence[Message]]:
        """Yield the records that the partitions of the topic have now, ``only`` of some; raises as
        :meth:`ends` and :meth:`read` do.
        """
        ends = self.ends()
        return self.read(dict.fromkeys(ends if only is None else only, 0), ends)

    def latest(self, ends: Mapping[int, int], *, partly: bool = False) -> Mapping[int, Message]:
        """Return the last record below ``ends`` of each partition that has any. Raises as
        :meth:`read`, but for OffsetGoneError.

        They are read backwards: a compacted topic may have one for each batch.
        """
        found: dict[int, Message] = {}
        starts = dict(ends)
        for span in (*_SPANS, max(ends.values(), default=0)):
            starts = {
                number: max(0, ends[number] - span)
                for number, start in starts.items()
                if start and number not in found
            }
            if not starts:
                break
            with suppress(OffsetGoneError):  # it begins later: the next span reads more
                for messages in self.read(starts, ends, partly=partly):
                    for message in messages:
                        if message.value() is not None:
                            found[message.partition() or 0] = message
        return found

    def read(
        self, starts: Mapping[int, int], ends: Mapping[int, int], *, partly: bool = False
    ) -> Iterator[Sequence[Message]]:
        """Yield the records of the partitions of ``starts``, each from there (0: the earliest) up
        to its end, some at a time; ``partly``: one that cannot be unpacked is left.

        Raises OffsetGoneError, BrokerError where a batch cannot be unpacked, and KafkaException
        where nothing came in time.
        """
        self.positions = dict(starts)
        # Else it would look for a leader when it needs one, and again half a second later.
        self._consumer.list_topics(self._topic, timeout=_TIMEOUT)
        self._consumer.assign(
            [
                TopicPartition(self._topic, number, start or OFFSET_BEGINNING)
                for number, start in starts.items()
            ]
        )
        idle = 0.0
        while any(position < ends[number] for number, position in self.positions.items()):
            # What is there is taken at once: more than a record would be waited for to the end.
            messages = self._consumer.consume(1, _WAIT)
            messages += self._consumer.consume(_RECORDS_AT_ONCE - 1, 0)
            idle = 0.0 if messages else idle + _WAIT
            if idle >= _TIMEOUT:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it
            records = [message for message in messages if message.error() is None]
            for record in records:
                number = record.partition() or 0
                if number in self.positions:
                    self.positions[number] = (record.offset() or 0) + 1
            if len(records) < len(messages):
                self._note_ends(messages, partly=partly)
            yield records
        # Else it would ask the broker for more, a hundred times a second, as long as it is open.
        self._consumer.unassign()

    def leave(self, number: int) -> None:
        """Read no more of a partition that is being read."""
        self.positions.pop(number)
        self._consumer.incremental_unassign([TopicPartition(self._topic, number)])

    def _note_ends(self, messages: Sequence[Message], *, partly: bool) -> None:
        """Move the positions to the ends that are among ``messages``: transaction markers and
        compaction leave offsets that no record has.
        """
        for message in messages:
            error, number, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is None:
                continue
            if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  # librdkafka's name for it
                raise OffsetGoneError
            if is_unreadable(message):
                if not partly:
                    raise unreadable_error(self._topic)
                if number in self.positions:
                    self.leave(number)
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # the same
                raise KafkaException(error)
            elif number in self.positions:
                self.positions[number] = max(self.positions[number], offset)

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRecord:
    """One record of a topic."""

    key: str
    partition: int
    offset: int
    value: dict[str, Any]


def read_all(settings: KafkaSettings, codec: Codec, topic: Topic) -> Iterator[TopicRecord]:
    """Yield every committed record of ``topic``, each partition in its order.

    Raises:
        BrokerError: There is no such topic, or Kafka cannot be read.
    """
    with reading(settings, topic) as reader:
        for messages in reader.every():
            for message in messages:
                if (one := record_of(message, codec, topic)) is not None:
                    yield one


def record_of(message: Message, codec: Codec, topic: Topic) -> TopicRecord | None:
    """Return the record of a message of ``topic``, None for a deletion."""
    value = message.value()
    if value is None:
        return None
    return TopicRecord(
        key=(message.key() or b"").decode(errors="replace"),
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        value=codec.decode(topic.record, value),
    )


def partition_client(
    settings: KafkaSettings,
    group: str,
    positions: Mapping[Place, int],
    **options: Any,  # noqa: ANN401  # librdkafka's values
) -> Consumer:
    """Return a consumer of ``positions``, none of them perhaps, which shows the end of a partition
    as an error and creates no topic. To be closed.
    """
    client = clients.consumer(
        settings,
        group,
        **{
            **_BOUNDED,
            "allow.auto.create.topics": False,
            "enable.partition.eof": True,
            **options,
        },
    )
    client.assign([TopicPartition(*place, offset) for place, offset in positions.items()])
    return client


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Records that wait to be read."""

    records: int
    """Their approximate number."""
    oldest_at: datetime | None
    """When the oldest was written; None: nothing waits."""
    partitions: frozenset[int] = frozenset()
    """Where they wait."""


def unread(settings: KafkaSettings, topic: Topic, positions: Mapping[Place, int]) -> Unread:
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
        clients.broker_errors(settings),
        closing(BoundedReader(settings, "izin-console-reader", topic.name)) as reader,
    ):
        yield reader
