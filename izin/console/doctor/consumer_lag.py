"""Consumer lag: how many records of a topic are unread, and how long the oldest waits.

The count is of offsets, of which transaction markers take some, so it is approximate. Whether
anything waits, and since when, is exact: the first record behind the reader is read.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from izin.console.read_topic import TopicRecord, record_of
from izin.runtime import kafka, topic_admin
from izin.runtime.broker_faults import is_unreadable, unreadable_batches
from izin.runtime.errors import BrokerError
from izin.runtime.kafka import broker_errors, while_leaders_move
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic

TopicAndPartition = tuple[str, int]

_READER = "izin-console-reader"
_TIMEOUT = 15.0
_POLL = 0.2
_MOST_DEAD_LETTERS = 10_000


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
    with _reading(settings, _READER) as client:
        behind: list[TopicPartition] = []
        count = 0
        for number in range(topic_admin.partitions_of(topic, settings)):
            place = TopicPartition(topic.name, number)
            first, end = while_leaders_move(client.get_watermark_offsets)(place, timeout=_TIMEOUT)
            begin = max(first, positions.get((topic.name, number), first))
            if begin < end:
                behind.append(TopicPartition(topic.name, number, begin))
                count += end - begin
        heads = [message for message in _heads(client, behind) if message is not None]
    if not heads:
        return Unread(records=0, oldest_at=None)
    oldest = min(message.timestamp()[1] for message in heads)
    return Unread(
        records=count,
        oldest_at=datetime.fromtimestamp(oldest / 1000, UTC),
        partitions=frozenset(message.partition() or 0 for message in heads),
    )


def dead_letters_since(settings: KafkaSettings, codec: Codec, since: datetime) -> list[TopicRecord]:
    """Return the dead letters written since then, at most 10,000; raises BrokerError."""
    topic = settings.topics.dead_letters
    letters: list[TopicRecord] = []
    with _reading(settings, _READER) as client:
        at = int(since.timestamp() * 1000)
        found = while_leaders_move(client.offsets_for_times)(
            [
                TopicPartition(topic.name, number, at)
                for number in range(topic_admin.partitions_of(topic, settings))
            ],
            timeout=_TIMEOUT,
        )
        open_ends = {one.partition for one in found if one.offset >= 0}
        client.assign([one for one in found if one.offset >= 0])
        while open_ends and len(letters) < _MOST_DEAD_LETTERS:
            message = _next(client, monotonic() + _TIMEOUT)
            if _is_end(message):
                open_ends.discard(message.partition() or 0)
            elif (letter := record_of(message, codec, topic)) is not None:
                letters.append(letter)
    return letters


@contextmanager
def _reading(settings: KafkaSettings, group: str) -> Iterator[Consumer]:
    client = kafka.consumer(
        settings,
        group,
        **{
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            # One record a partition is needed, not all that follow.
            "queued.min.messages": 1,
        },
    )
    try:
        with broker_errors(settings):
            yield client
    finally:
        client.close()


def _heads(client: Consumer, places: list[TopicPartition]) -> Iterator[Message | None]:
    """Yield the first record at each of ``places``; None where only markers are left."""
    client.assign(places)
    waiting = {one.partition for one in places}
    deadline = monotonic() + _TIMEOUT
    while waiting:
        message = _next(client, deadline)
        number = message.partition() or 0
        if number in waiting:
            waiting.discard(number)
            client.incremental_unassign([TopicPartition(message.topic() or "", number)])
            yield None if _is_end(message) else message


def _next(client: Consumer, deadline: float) -> Message:
    while (message := client.poll(_POLL)) is None:
        if monotonic() > deadline:
            raise BrokerError(f"a topic could not be read within {_TIMEOUT:.0f} s; try again")
    error = message.error()
    if is_unreadable(message):
        raise BrokerError("; ".join(map(": ".join, unreadable_batches(message.topic()).items())))
    if error is not None and not _is_end(message):
        raise KafkaException(error)
    return message


def _is_end(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  # its public spelling
