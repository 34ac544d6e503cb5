"""Decisions into the ledger: rows, history, what is owed, and the offsets, in one transaction.

The offsets lie in the ledger and move by compare-and-set, so a rewind, a second ingester or a
crash between changes nothing. The newest desired by the law's order wins; a stale decision only
notes the latest instants. A decision that cannot be read stops the ingester: ours wrote it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from izin.runtime.observe import get_logger
from izin.schemas.records import key_from_avro
from izin.sinks import rulings
from izin.sinks.errors import ConcurrentChangeError
from izin.sinks.ledger import brands, offsets
from izin.sinks.ledger.changes import Changes, Movement, lock
from izin.sinks.topic_reader import open_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec
    from izin.sinks.announce import Announcer
    from izin.sinks.ledger.database import Ledger
    from izin.sinks.topic_reader import TopicReader

_BATCH = 500
_YIELD_EVERY = 50

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A decision with its place in the topic."""

    partition: int
    offset: int
    decision: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingester:
    """Reads the topic of decisions into the ledger."""

    ledger: Ledger
    announcer: Announcer
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Ingest until cancelled; one process at a time does."""
        async with self.ledger.sole("ingest"):
            while True:
                reader = await self.open()
                try:
                    while True:
                        await reader.step(self.wait)
                except ConcurrentChangeError as error:
                    _log.info("read again", why=str(error))
                finally:
                    await reader.close()

    async def open(self) -> Reader:
        """Return a reader at the ledger's offsets; raises StreamUnavailableError,
        RecreatedTopicError.
        """
        topic = self.settings.topics.decisions.name
        return Reader(
            self,
            await open_reader(self.ledger, self.settings, topic, group="izin-ledger", lost="error"),
        )

    async def keep(
        self, topic: str, topic_id: str, reads: Sequence[Read], moves: Mapping[int, tuple[int, int]]
    ) -> None:
        """Write what was read, and that it was; raises ConcurrentChangeError if another did."""
        now = self.clock()
        keys = [str(key_from_avro(read.decision["consent"])) for read in reads]
        async with self.ledger.transaction() as connection:
            await offsets.advance(connection, topic, topic_id, moves)
            entries = await lock(connection, keys)
            codes = {read.decision["consent"]["brand_code"] for read in reads}
            known = await brands.of_codes(connection, codes)
            changes = Changes(self.announcer, now=now)
            last = {key: place for place, key in enumerate(keys)}
            for place, (key, read) in enumerate(zip(keys, reads, strict=True)):
                before = entries.get(key)
                entry = rulings.decided(before, read.decision, now)
                if last[key] == place:
                    brand = known.get(entry.brand_code)
                    ruled = rulings.ruled(entry, brand, now, calendar=self.ledger.calendar)
                    entries[key] = changes.rule(before, ruled)
                else:
                    entries[key] = changes.put(before, entry)
                changes.note(_movement(key, read.decision))
                if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                    # Pushes share this loop and must not wait for a whole batch.
                    await asyncio.sleep(0)
            await changes.write(connection)


class Reader:
    """The topic from the ledger's offsets on."""

    def __init__(self, ingester: Ingester, topic: TopicReader) -> None:
        self._ingester = ingester
        self._topic = topic

    async def step(self, wait: timedelta) -> int:
        """Ingest what has come, waiting no longer than ``wait``; return how many decisions."""
        topic = self._topic
        messages = await topic.poll(_BATCH, wait.total_seconds())
        reads = []
        for message in messages:
            value = message.value()
            if value is not None and message.error() is None:
                reads.append(
                    Read(
                        partition=message.partition() or 0,
                        offset=message.offset() or 0,
                        decision=self._ingester.codec.decode("Decision", value),
                    )
                )
            if len(reads) % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        moves = topic.moves(messages)
        if not moves:
            return 0
        await self._ingester.keep(topic.topic, topic.topic_id, reads, moves)
        topic.moved(moves)
        return len(reads)

    async def close(self) -> None:
        """Close the consumer."""
        await self._topic.close()


def _movement(key: str, decision: Mapping[str, Any]) -> Movement:
    event = decision["event"]
    place = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
    return Movement(
        kind="decision",
        customer_id=event["customer_id"],
        key=key,
        event_id=event["event_id"],
        status=event["status"],
        source=f"{place}/{event['event_id']}",
        occurred_at=decision["effective_at"],
        data={
            "kind": decision["kind"],
            "reason": decision["reason"],
            "opted_out": decision["opted_out"],
            "violations": decision["violations"],
            "stands": decision["consent"]["status"],
            "law_version": decision["consent"]["law_version"],
            "event": {name: value for name, value in event.items() if value not in (None, {}, "")},
        },
    )
