"""Take the gate's receipts into the history, each once.

The movements of a batch and the offsets behind it are one transaction. A receipt that is read again
(the topic was rewound) is found in the history by its source, and changes nothing. One that cannot
be stored goes to the dead letters as it is, in the transaction that passes its offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import Message

from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.poison import put_aside, store_apart
from izin.sinks.ingest.topic_reader import TopicReader, open_at_any, read_on
from izin.sinks.ledger import offsets
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.receipts import movements_of
from izin.sinks.ledger.unit_of_work import append_messages
from izin.sinks.record.messages import TopicMessages

_BATCH = 2000

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptIngester:
    """Reads the topic of receipts into the history."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Ingest until cancelled, in one process at a time."""
        await read_on(
            self.ledger,
            "receipts",
            lambda ledger: replace(self, ledger=ledger).open(),
            self.wait,
        )

    async def open(self) -> ReceiptReader:
        """Return a reader at the ledger's offsets, or at the first that retention has left. A topic
        that was created again is read from its beginning: what is known by its source stays once.

        Raises: StreamUnavailableError.
        """
        topic = self.settings.topics.gate_receipts.name
        return ReceiptReader(self, await open_at_any(self.ledger, self.settings, topic))


class ReceiptReader:
    """The topic of receipts, read from the ledger's offsets on."""

    def __init__(self, ingester: ReceiptIngester, topic: TopicReader) -> None:
        self._ingester = ingester
        self._topic = topic

    async def step(self, wait: timedelta) -> int:
        """Store one batch, waiting for it at most ``wait``; return its number of records."""
        messages = await self._topic.poll(_BATCH, wait.total_seconds())
        await store_apart(messages, self._store, self._set_aside)
        return sum(one.error() is None for one in messages)

    async def _store(self, messages: Sequence[Message]) -> None:
        moves = self._topic.moves(messages)
        if not moves:
            return
        codec, now = self._ingester.codec, self._ingester.clock()
        receipts = [
            codec.decode("GateReceipt", one.value() or b"")
            for one in messages
            if one.error() is None
        ]
        async with self._ingester.ledger.transaction() as connection:
            await offsets.advance(connection, self._topic.topic, self._topic.topic_id, moves)
            await _append(connection, receipts, now)
        self._topic.moved(moves)

    async def _set_aside(self, message: Message, error: Exception) -> None:
        """Write the dead letter of a record that cannot be stored."""
        ingester, moves = self._ingester, self._topic.moves([message])
        record, now = replace(put_aside(message, error), of="receipt"), ingester.clock()
        async with ingester.ledger.transaction() as connection:
            await offsets.advance(connection, self._topic.topic, self._topic.topic_id, moves)
            letter = ingester.topic_messages.quarantined(record, now)
            await append_messages(connection, [letter], now)
        self._topic.moved(moves)
        _log.critical(
            "receipt quarantined",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=record.error,
            remedy="izin dead-letters has it as it was; the history lacks it",
        )

    async def close(self) -> None:
        """Close the consumer."""
        await self._topic.close()


async def _append(
    connection: Connection, receipts: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Append the movements of ``receipts``: of the customer for whom the gate answered, which is
    the brand's only where the key that asked may ask about it.
    """
    movements = [found for one in receipts for found in movements_of(one)]
    await append.append(connection, movements, now=now)
