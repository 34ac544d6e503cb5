"""Read all partitions of a topic from the offsets that the ledger has.

The offsets are stored in the ledger, so that they advance in the transaction of the rows that they
stand for. Offsets without a message (the marker of a transaction at a partition's end) are passed
too, or the lag would never be zero.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from izin.kafka.bounded_reader import BoundedReader, partition_client
from izin.ledger import offsets
from izin.ledger.db import Ledger
from izin.ledger.record import StreamUnavailableError, TopicMessages
from izin.runtime.broker_faults import is_unreadable
from izin.runtime.errors import BrokerError
from izin.runtime.kafka import admin
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities, identities
from izin.schemas.codec import Codec

_GROUP = "izin-ledger"
_TIMEOUT = 15.0

_log = get_logger(__name__)

Moves = Mapping[int, tuple[int, int]]
"""Of each partition the offset before and after a batch."""


@dataclass(frozen=True, kw_only=True)
class IngestContext:
    """What whoever reads topics into the ledger works with."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]


class TopicReader:
    """A consumer of all partitions of ``topic``; make one with :func:`open_reader`."""

    def __init__(
        self, client: Consumer, *, topic: str, topic_id: str, positions: Mapping[int, int]
    ) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.positions = dict(positions)
        self.at_end: set[int] = set()
        """The partitions that were at their end at the last poll."""
        self.topic_id_now: Callable[[], str] | None = None
        """Asks the broker: a topic that is created again under its reader begins again, and offsets
        that were passed say nothing of its records. None: the reader fails there anyway.
        """
        self._client = client
        self._polling: asyncio.Future[Sequence[Message]] | None = None

    async def poll(self, most: int, wait: float) -> Sequence[Message]:
        """Return the available messages, at most ``most``, as soon as there is one; none after
        ``wait`` seconds. Raises StreamUnavailableError.
        """
        self._polling = asyncio.ensure_future(asyncio.to_thread(self._poll, most, wait))
        return await asyncio.shield(self._polling)

    def _poll(self, most: int, wait: float) -> Sequence[Message]:
        messages = available(self._client, most, wait, what=self.topic)
        for message in messages:
            number = message.partition() or 0
            if message.error() is None:
                self.at_end.discard(number)
            else:
                self.at_end.add(number)
        now = self.topic_id_now
        if now is not None and self._goes_back(messages) and now() != self.topic_id:
            raise StreamUnavailableError(f"{self.topic}: it was created again")
        return messages

    def _goes_back(self, messages: Sequence[Message]) -> bool:
        return any(
            (one.offset() or 0) < self.positions.get(one.partition() or 0, 0) for one in messages
        )

    def moves(self, messages: Sequence[Message]) -> Moves:
        """Return the offsets before and after ``messages``, by partition."""
        nexts: dict[int, int] = {}
        for message in messages:
            number, offset = message.partition() or 0, message.offset() or 0
            nexts[number] = offset if message.error() is not None else offset + 1
        return {
            number: (self.positions[number], after)
            for number, after in nexts.items()
            if after > self.positions[number]
        }

    def moved(self, moves: Moves) -> None:
        """Advance to the offsets after ``moves``."""
        self.positions.update({number: after for number, (_, after) in moves.items()})

    async def close(self) -> None:
        """Close the consumer, once the thread of a poll that was cancelled has ended."""
        if self._polling is not None:
            await asyncio.gather(self._polling, return_exceptions=True)
        await asyncio.to_thread(self._client.close)


def available(client: Consumer, most: int, wait: float, *, what: str) -> Sequence[Message]:
    """Return the messages that ``client`` has, at most ``most``, as soon as there is one; none
    after ``wait`` seconds. An error among them is the end of a partition. One whose batch cannot be
    unpacked stands, and the others are read.

    Raises:
        StreamUnavailableError: ``what`` cannot be read now.
    """
    try:
        messages = client.consume(1, wait)
        if messages and most > 1:
            messages += client.consume(most - 1, 0)
    except KafkaException as error:
        raise StreamUnavailableError(f"{what}: {error.args[0].str()}") from error
    messages = [one for one in messages if not is_unreadable(one)]
    for message in messages:
        problem = message.error()
        if problem is not None and problem.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name for it
            raise StreamUnavailableError(f"{message.topic() or what}: {problem.str()}")
    return messages


async def open_reader(context: IngestContext, topic: str, *, lost: str) -> TopicReader:
    """Return a reader of ``topic`` at the ledger's offsets.

    ``lost`` says what to do where retention has removed the next record: ``error`` (raise) or
    ``earliest`` (continue at the first that is left).

    Raises: StreamUnavailableError, RecreatedTopicError.
    """
    cluster_id, topic_id, partitions = await asyncio.to_thread(identity, context.settings, topic)
    positions = await offsets.positions(
        context.ledger, topic, partitions, cluster_id=cluster_id, topic_id=topic_id
    )
    client = reader_at(context.settings, topic, positions, lost=lost)
    return TopicReader(client, topic=topic, topic_id=topic_id, positions=positions)


def reader_at(
    settings: KafkaSettings, topic: str, positions: Mapping[int, int], *, lost: str
) -> Consumer:
    """Return a consumer of ``topic`` at these offsets; ``lost`` as in :func:`open_reader`."""
    places = {(topic, number): position for number, position in positions.items()}
    options = {"auto.offset.reset": lost, "fetch.wait.max.ms": 100}
    return partition_client(settings, _GROUP, places, **options)


def identities_of(settings: KafkaSettings, topics: Collection[str]) -> TopicIdentities:
    """Return the identities of ``topics``; raises StreamUnavailableError."""
    try:
        return identities(admin(settings), topics, timeout=_TIMEOUT)
    except KafkaException as error:
        raise StreamUnavailableError(f"{', '.join(topics)}: {error.args[0].str()}") from error


def identity(settings: KafkaSettings, topic: str) -> tuple[str, str, tuple[int, ...]]:
    """Return the cluster's id, the topic's id and its partitions; raises StreamUnavailableError."""
    found = identities_of(settings, [topic])
    return found.cluster_id, found.topic_ids[topic], tuple(range(found.partitions[topic]))


async def every_record(
    settings: KafkaSettings, topic: str, only: Collection[int] | None = None
) -> AsyncIterator[Message]:
    """Yield the records that ``topic`` has now, each partition in order; ``only`` of some.

    Raises: StreamUnavailableError.
    """
    reader = await asyncio.to_thread(BoundedReader, settings, _GROUP, topic)
    try:
        pages = await asyncio.to_thread(reader.every, only)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            for message in page:
                yield message
    except KafkaException as error:
        raise StreamUnavailableError(f"{topic}: {error.args[0].str()}") from error
    except BrokerError as error:
        raise StreamUnavailableError(str(error)) from error
    finally:
        await asyncio.to_thread(reader.close)
