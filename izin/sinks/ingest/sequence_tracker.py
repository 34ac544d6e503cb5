"""Following a lane of events for their running numbers alone, so that what never came is seen.

The lanes are followed and not the decisions: an event that repeats another, or that is refused,
makes no decision and is not missing. Bytes that are no event are passed over; the order stage has
them among its dead letters.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from izin.runtime.observe import get_logger
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.sinks.ingest.topic_reader import TopicReader, open_reader
from izin.sinks.ledger import offsets, sequences
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.sequence_gaps import Run, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from izin.runtime.settings import KafkaSettings
    from izin.sinks.ledger.db.connection import Ledger
    from izin.sinks.ledger.sequences import Origin

_BATCH = 5000
_REPORT_EVERY = timedelta(seconds=5)
"""How often the ledger hears that nothing has come."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTracker:
    """Follows the lane ``topic``; each lane has one of its own."""

    ledger: Ledger
    codec: Codec
    settings: KafkaSettings
    topic: str
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Follow until cancelled; one process at a time does."""
        async with self.ledger.sole(f"follow {self.topic}"):
            while True:
                following = await self.open()
                try:
                    while True:
                        await following.step(self.wait)
                except ConcurrentChangeError as error:
                    _log.info("read again", reason=str(error))
                finally:
                    await following.close()

    async def open(self) -> TrackedLane:
        """Return the lane at the ledger's offsets, or where retention left it; raises
        StreamUnavailableError and RecreatedTopicError.
        """
        reader = await open_reader(
            self.ledger, self.settings, self.topic, group="izin-ledger", lost="earliest"
        )
        return TrackedLane(self, reader)


class TrackedLane:
    """A lane from the ledger's offsets on."""

    def __init__(self, follower: SequenceTracker, reader: TopicReader) -> None:
        self._follower = follower
        self._reader = reader
        self._reported_at: datetime | None = None
        self._reported_ends: set[int] = set()

    async def step(self, wait: timedelta) -> int:
        """Take in the numbers of what has come, waiting no longer than ``wait``; return of how
        many records.
        """
        follower, reader = self._follower, self._reader
        messages = await reader.poll(_BATCH, wait.total_seconds())
        # After the poll: what was appended before is in it, or its partition is not at its end.
        now = follower.clock()
        moves = reader.moves(messages)
        is_reported = self._reported_at is not None and now - self._reported_at < _REPORT_EVERY
        if not moves and is_reported and reader.at_end <= self._reported_ends:
            return 0
        records = [one for one in messages if one.error() is None]
        # In a thread, for others share this loop and must not wait for thousands of records.
        came = await asyncio.to_thread(_came, records, follower.codec)
        instants = {one.partition() or 0: _appended_at(one) for one in records}
        instants |= dict.fromkeys(reader.at_end, now)
        async with follower.ledger.transaction() as connection:
            if moves:
                await offsets.advance(connection, reader.topic, reader.topic_id, moves)
                await sequences.save(connection, came)
            await sequences.read_until(connection, reader.topic, instants)
        reader.moved(moves)
        self._reported_at, self._reported_ends = now, set(reader.at_end)
        return len(records)

    async def close(self) -> None:
        """Close the consumer."""
        await self._reader.close()


def _came(records: Iterable[Any], codec: Codec) -> Mapping[Origin, Sequence[Run]]:
    """Return the numbers that came with ``records``, Kafka messages, by origin."""
    found: dict[Origin, dict[int, datetime]] = {}
    for record in records:
        try:
            event = codec.decode_event(record.value() or b"")
        except (UndecodableError, UnknownSchemaError):
            continue
        origin = event.customer_id, event.origin
        # PostgreSQL takes no zero byte in a text, and nobody bears such a name.
        if event.sequence is not None and "\0" not in event.customer_id + event.origin:
            numbers = found.setdefault(origin, {})
            numbers.setdefault(event.sequence, _appended_at(record))
    return {origin: runs(numbers) for origin, numbers in found.items()}


def _appended_at(record: Any) -> datetime:  # noqa: ANN401  # a message of confluent-kafka
    return datetime.fromtimestamp(record.timestamp()[1] / 1000, UTC)
