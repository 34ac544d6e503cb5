"""Track the sequence numbers of a lane's events, so that events that never arrived are detected.

The lanes are read rather than the decisions: a duplicate or refused event makes no decision and is
not missing. Records that are no event are skipped, and so is a number that the ledger cannot take;
the order stage dead-letters them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import Message

from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant
from izin.sinks.ingest.poison import store_apart
from izin.sinks.ingest.topic_reader import TopicReader, open_at_any, read_on
from izin.sinks.ledger import offsets, sequences
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.sequences import Origin
from izin.sinks.record.sequence_gaps import Run, runs

_BATCH = 5000
_REPORT_EVERY = timedelta(seconds=5)
"""How often an idle lane's progress is written to the ledger."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTracker:
    """Tracks the lane ``topic``; each lane has a tracker of its own."""

    ledger: Ledger
    codec: Codec
    settings: KafkaSettings
    topic: str
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Track until cancelled, in one process at a time."""
        await read_on(
            self.ledger,
            f"follow {self.topic}",
            lambda ledger: replace(self, ledger=ledger).open(),
            self.wait,
        )

    async def open(self) -> TrackedLane:
        """Return the lane at the ledger's offsets, or at the first that retention has left. A lane
        that was created again is read from its beginning: a number that came stays there once.

        Raises: StreamUnavailableError.
        """
        return TrackedLane(self, await open_at_any(self.ledger, self.settings, self.topic))


class TrackedLane:
    """A lane, read from the ledger's offsets on."""

    def __init__(self, tracker: SequenceTracker, reader: TopicReader) -> None:
        self._tracker = tracker
        self._reader = reader
        self._reported_at: datetime | None = None
        self._reported_ends: set[int] = set()

    async def step(self, wait: timedelta) -> int:
        """Store the numbers of one batch, waiting for it at most ``wait``; return its number of
        records.
        """
        tracker, reader = self._tracker, self._reader
        messages = await reader.poll(_BATCH, wait.total_seconds())
        # After the poll: records appended before this instant were read, or their partition is not
        # at its end.
        now = tracker.clock()
        is_reported = self._reported_at is not None and now - self._reported_at < _REPORT_EVERY
        is_idle = not reader.moves(messages)
        if is_idle and is_reported and reader.at_end <= self._reported_ends:
            return 0
        await store_apart(messages, self._store, self._pass_over)
        records = [one for one in messages if one.error() is None]
        instants = {one.partition() or 0: _appended_at(one) for one in records}
        instants |= dict.fromkeys(reader.at_end, now)
        async with tracker.ledger.transaction() as connection:
            await sequences.read_until(connection, reader.topic, instants)
        self._reported_at, self._reported_ends = now, set(reader.at_end)
        return len(records)

    async def _store(self, messages: Sequence[Message]) -> None:
        """Store the numbers of ``messages``, and the offsets behind them."""
        records = [one for one in messages if one.error() is None]
        # In a thread, for other tasks share this loop and must not wait for thousands of records.
        await self._save(messages, await asyncio.to_thread(_arrived, records, self._tracker.codec))

    async def _pass_over(self, message: Message, error: Exception) -> None:
        """Pass over one whose number cannot be stored: the order stage decides on the record."""
        _log.warning(
            "sequence number passed over",
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            error=type(error).__name__,
        )
        await self._save([message], {})

    async def _save(
        self, messages: Sequence[Message], arrived: Mapping[Origin, Sequence[Run]]
    ) -> None:
        reader = self._reader
        moves = reader.moves(messages)
        if moves:
            async with self._tracker.ledger.transaction() as connection:
                await offsets.advance(connection, reader.topic, reader.topic_id, moves)
                await sequences.save(connection, arrived)
            reader.moved(moves)

    async def close(self) -> None:
        """Close the consumer."""
        await self._reader.close()


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
