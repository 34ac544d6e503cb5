"""Track the sequence numbers of a lane's events, so that events that never arrived are detected.

The lanes are read rather than the decisions: a duplicate or refused event makes no decision and is
not missing. Records that are no event are skipped, and so is a number that the ledger cannot take;
the order stage dead-letters them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import Message

from izin.runtime.observe import get_logger
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant
from izin.sinks.ingest.topic_reader import IngestedTopic
from izin.sinks.ledger import sequences
from izin.sinks.ledger.sequences import Origin
from izin.sinks.record.sequence_gaps import Run, runs

_REPORT_EVERY = timedelta(seconds=5)
"""How often an idle lane's progress is written to the ledger."""

_log = get_logger(__name__)


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
