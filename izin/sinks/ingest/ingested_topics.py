"""Read topics into the ledger, each in one process at a time: what they have in common, and two.

A batch and the offsets behind it are one transaction. A record that cannot be stored stands alone,
and is put aside in the transaction that passes its offset.

Receipts of the gate are taken into the history. One that is read again (the topic was rewound, or
created again) is found there by its source, and changes nothing.

The sequence numbers of a lane's events are tracked, so that events that never arrived are detected.
The lanes are read rather than the decisions: a duplicate or refused event makes no decision and is
not missing. Records that are no event are skipped, and so is a number that the ledger cannot take;
the order stage dead-letters them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from izin.kafka.bounded_reader import BoundedReader, partition_client
from izin.kafka.clients import TopicIdentities, admin, identities
from izin.kafka.connections import is_unreadable
from izin.ledger import offsets, sequences
from izin.ledger.db import Connection, Ledger, exclusive
from izin.ledger.history import append, entries_of
from izin.ledger.record import (
    QuarantinedRecord,
    RecreatedTopicError,
    Run,
    StreamUnavailableError,
    TopicMessages,
    runs,
)
from izin.ledger.sequences import Origin
from izin.ledger.unit_of_work import append_messages
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant
from izin.sinks.ingest.isolation import put_aside, store_apart

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
    """A consumer of all partitions of ``topic``; make one with :func:`open_reader`.

    The offsets are stored in the ledger, so that they advance in the transaction of the rows that
    they stand for. Offsets without a message (the marker of a transaction at a partition's end) are
    passed too, or the lag would never be zero.
    """

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
        if (
            now is not None
            and any(
                (message.offset() or 0) < self.positions.get(message.partition() or 0, 0)
                for message in messages
            )
            and now() != self.topic_id
        ):
            raise StreamUnavailableError(f"{self.topic}: it was created again")
        return messages

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
    return TopicReader(
        reader_at(context.settings, topic, positions, lost=lost),
        topic=topic,
        topic_id=topic_id,
        positions=positions,
    )


def reader_at(
    settings: KafkaSettings, topic: str, positions: Mapping[int, int], *, lost: str
) -> Consumer:
    """Return a consumer of ``topic`` at these offsets; ``lost`` as in :func:`open_reader`."""
    places = {(topic, number): position for number, position in positions.items()}
    return partition_client(settings, _GROUP, places, **{"auto.offset.reset": lost})


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


async def every_record(settings: KafkaSettings, topic: str) -> AsyncIterator[Message]:
    """Yield the records that ``topic`` has now, each partition in order.

    Raises: StreamUnavailableError.
    """
    reader = await asyncio.to_thread(BoundedReader, settings, _GROUP, topic)
    try:
        pages = await asyncio.to_thread(reader.every)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            for message in page:
                yield message
    except KafkaException as error:
        raise StreamUnavailableError(f"{topic}: {error.args[0].str()}") from error
    except BrokerError as error:
        raise StreamUnavailableError(str(error)) from error
    finally:
        await asyncio.to_thread(reader.close)


_WAIT = timedelta(milliseconds=500)
_REPORT_EVERY = timedelta(seconds=5)
"""How often an idle lane's progress is written to the ledger."""


class IngestedTopic(ABC):
    """A topic on its way into the ledger: what a batch brings, and the offsets behind it, are one
    transaction.
    """

    most = 2000
    """The most records of a batch."""
    alarm: str
    """The event that is logged of a record that was put aside, and what a person does then."""
    remedy: str

    def __init__(self, context: IngestContext, topic: TopicReader) -> None:
        self.context = context
        self.topic = topic

    @classmethod
    async def open(cls, context: IngestContext, topic: str) -> Self:
        """Return ``topic`` at the ledger's offsets, or at the first that is left; raises
        StreamUnavailableError. One that was created again is read from its beginning, which must be
        safe.
        """
        try:
            reader = await open_reader(context, topic, lost="earliest")
        except RecreatedTopicError:
            _log.critical(
                "topic recreated",
                topic=topic,
                effect="it is read from its beginning; what it had before and was not read is lost",
                remedy="find out who deleted it",
            )
            await offsets.forget(context.ledger, topic)
            reader = await open_reader(context, topic, lost="earliest")
        reader.topic_id_now = lambda: identity(context.settings, topic)[1]
        return cls(context, reader)

    @classmethod
    async def run(cls, context: IngestContext, topic: str, *, work: str) -> None:
        """Read ``topic`` until cancelled, in the one process that has the lease of ``work``.

        Raises: StreamUnavailableError, ConcurrentChangeError.
        """
        async with exclusive(context.ledger, work) as ledger:
            reader = await cls.open(replace(context, ledger=ledger), topic)
            try:
                while True:
                    await reader.step(_WAIT)
            finally:
                await reader.close()

    async def step(self, wait: timedelta) -> int:
        """Store one batch, waiting for it at most ``wait``; return its number of records."""
        messages = await self.topic.poll(self.most, wait.total_seconds())
        await self.take(messages)
        return sum(message.error() is None for message in messages)

    async def take(self, messages: Sequence[Message]) -> None:
        """Store ``messages``, and put those at fault aside."""
        await store_apart(messages, self.store, self.set_aside)

    @abstractmethod
    async def store(self, messages: Sequence[Message]) -> None:
        """Store what ``messages`` bring, by :meth:`save`; errors among them are ends of
        partitions.
        """

    async def save(
        self, messages: Sequence[Message], write: Callable[[Connection], Awaitable[None]]
    ) -> None:
        """Move the offsets behind ``messages`` and ``write``, in one transaction; nothing where
        they were passed before.

        Raises:
            ConcurrentChangeError: another process has moved the offsets.
        """
        moves = self.topic.moves(messages)
        if moves:
            async with self.context.ledger.transaction() as connection:
                await self.advance(connection, moves)
                await write(connection)
            self.passed(moves)

    async def advance(self, connection: Connection, moves: Moves) -> None:
        """Store the offsets after ``moves``."""
        await offsets.advance(connection, self.topic.topic, self.topic.topic_id, moves)

    def passed(self, moves: Moves) -> None:
        """Read on behind ``moves``, which are stored."""
        self.topic.moved(moves)

    async def set_aside(self, message: Message, error: Exception) -> None:
        """Write the dead letter of a record that cannot be stored."""
        record, now = self.quarantined(message, error), self.context.clock()
        letter = self.context.topic_messages.quarantined(record, now)
        await self.save([message], lambda connection: append_messages(connection, [letter], now))
        _log.critical(
            self.alarm,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=record.error,
            remedy=self.remedy,
        )

    def quarantined(self, message: Message, error: Exception) -> QuarantinedRecord:
        """Return ``message`` as it is put aside for ``error``."""
        return put_aside(message, error)

    async def close(self) -> None:
        """Close the consumer."""
        await self.topic.close()


class ReceiptReader(IngestedTopic):
    """The topic of receipts."""

    alarm = "receipt quarantined"
    remedy = "izin dead-letters has it as it was; the history lacks it"

    async def store(self, messages: Sequence[Message]) -> None:
        """Append what ``messages`` say to the history."""
        codec = self.context.codec
        receipts = [
            codec.decode("GateReceipt", message.value() or b"")
            for message in messages
            if message.error() is None
        ]
        await self.save(messages, partial(_append, receipts=receipts, now=self.context.clock()))

    def quarantined(self, message: Message, error: Exception) -> QuarantinedRecord:
        """Return ``message`` as it is put aside for ``error``."""
        return replace(super().quarantined(message, error), of="receipt")


async def _append(
    connection: Connection, *, receipts: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Append the entries of ``receipts``: of the customer for whom the gate answered, which is
    the brand's only where the key that asked may ask about it.
    """
    await append.append(
        connection, [found for receipt in receipts for found in entries_of(receipt)], now=now
    )


class TrackedLane(IngestedTopic):
    """A lane; a number that came stays in the ledger once, however often it is read."""

    most = 5000

    _reported_at: datetime | None = None
    _reported_ends: frozenset[int] = frozenset()

    async def take(self, messages: Sequence[Message]) -> None:
        """Store the numbers of ``messages``, and until when the lane was read."""
        topic = self.topic
        # After the poll: records appended before this instant were read, or their partition is not
        # at its end.
        now = self.context.clock()
        is_reported = self._reported_at is not None and now - self._reported_at < _REPORT_EVERY
        if (not topic.moves(messages)) and is_reported and topic.at_end <= self._reported_ends:
            return
        await super().take(messages)
        instants = {
            message.partition() or 0: _appended_at(message)
            for message in messages
            if message.error() is None
        }
        instants |= dict.fromkeys(topic.at_end, now)
        async with self.context.ledger.transaction() as connection:
            await sequences.read_until(connection, topic.topic, instants)
        self._reported_at, self._reported_ends = now, frozenset(topic.at_end)

    async def store(self, messages: Sequence[Message]) -> None:
        """Store the numbers of ``messages``."""
        # In a thread, for other tasks share this loop and must not wait for thousands of records.
        arrived = await asyncio.to_thread(
            _arrived,
            [message for message in messages if message.error() is None],
            self.context.codec,
        )
        await self.save(messages, lambda connection: sequences.save(connection, arrived))

    async def set_aside(self, message: Message, error: Exception) -> None:
        """Pass over one whose number cannot be stored: the order stage decides on the record."""
        _log.warning(
            "sequence number passed over",
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            error=type(error).__name__,
        )
        await self.save([message], lambda connection: sequences.save(connection, {}))


def _arrived(records: Iterable[Any], codec: Codec) -> Mapping[Origin, Sequence[Run]]:
    """Return the sequence numbers in ``records``, Kafka messages, by origin."""
    found: dict[Origin, dict[int, datetime]] = {}
    for record in records:
        try:
            event = codec.decode_event(record.value() or b"")
        except (UndecodableError, UnknownSchemaError):
            continue
        origin = event.customer_id, event.origin
        # PostgreSQL stores no zero byte in a text, and no customer or origin has one in its name.
        if event.sequence is not None and "\0" not in event.customer_id + event.origin:
            numbers = found.setdefault(origin, {})
            numbers.setdefault(event.sequence, _appended_at(record))
    return {origin: runs(numbers) for origin, numbers in found.items()}


def _appended_at(record: Any) -> datetime:  # noqa: ANN401  # a message of confluent-kafka
    return append_instant(record.timestamp()[1])
