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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

from confluent_kafka import Message

from izin.ledger import offsets, sequences
from izin.ledger.db import Connection, exclusive
from izin.ledger.history import append, entries_of
from izin.ledger.record import QuarantinedRecord, RecreatedTopicError, Run, runs
from izin.ledger.sequences import Origin
from izin.ledger.unit_of_work import append_messages
from izin.runtime.logs import get_logger
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant
from izin.sinks.ingest.isolation import put_aside, store_apart
from izin.sinks.ingest.topic_reader import IngestContext, Moves, TopicReader, identity, open_reader

_WAIT = timedelta(milliseconds=500)
_REPORT_EVERY = timedelta(seconds=5)
"""How often an idle lane's progress is written to the ledger."""

_log = get_logger(__name__)


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
        return sum(one.error() is None for one in messages)

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
            codec.decode("GateReceipt", one.value() or b"")
            for one in messages
            if one.error() is None
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
    entries = [found for one in receipts for found in entries_of(one)]
    await append.append(connection, entries, now=now)


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
        is_idle = not topic.moves(messages)
        if is_idle and is_reported and topic.at_end <= self._reported_ends:
            return
        await super().take(messages)
        instants = {
            one.partition() or 0: _appended_at(one) for one in messages if one.error() is None
        }
        instants |= dict.fromkeys(topic.at_end, now)
        async with self.context.ledger.transaction() as connection:
            await sequences.read_until(connection, topic.topic, instants)
        self._reported_at, self._reported_ends = now, frozenset(topic.at_end)

    async def store(self, messages: Sequence[Message]) -> None:
        """Store the numbers of ``messages``."""
        records = [one for one in messages if one.error() is None]
        # In a thread, for other tasks share this loop and must not wait for thousands of records.
        arrived = await asyncio.to_thread(_arrived, records, self.context.codec)
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
