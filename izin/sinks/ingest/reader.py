"""Read the topic of decisions a batch ahead of what is stored, and isolate what cannot be stored.

A batch that cannot be stored is halved until the record at fault stands alone. That one goes to the
dead letters, as it is, in the transaction that passes its offset; of an opt-out (RET) what can be
read takes effect. So no record stops the ledger, and none is stumbled over twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from confluent_kafka import Message

from izin.runtime.task_cancellation import with_pauses
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.isolation import Isolation, Record
from izin.sinks.ingest.poison import is_poison, quarantine, store_apart
from izin.sinks.ingest.topic_reader import TopicReader
from izin.sinks.record.unreadable import QuarantinedRecord

BATCH = 8000
"""The most decisions in a transaction; with fewer available, it does not wait for more."""
FEW = 1000
"""The most decisions that a transaction may apply one by one, estimated from the previous batch:
keys are locked while the transaction lasts, and an opt-out must not wait for seconds.
"""
BEHIND_AFTER = 1.0
"""The seconds after which a batch that is still being stored holds up what comes after it."""


class Store(Protocol):
    """Stores a batch in one transaction."""

    async def __call__(
        self,
        topic: str,
        topic_id: str,
        decisions: Sequence[IncomingDecision],
        moves: Mapping[int, tuple[int, int]],
        quarantined: Sequence[QuarantinedRecord] = (),
    ) -> int:
        """Return how many were applied one by one."""


class Reader:
    """Reads the topic from the ledger's offsets on, a batch ahead of what is stored."""

    def __init__(  # what it reads, and where it is stored
        self,
        topic: TopicReader,
        *,
        codec: Codec,
        decisions: DecisionReader,
        store: Store,
        isolation: Isolation,
    ) -> None:
        self._topic = topic
        self._codec = codec
        self._decisions = decisions
        self._write = store
        self._isolation = isolation
        self._most = BATCH
        self._is_full = False
        self._storing_since: float | None = None

    @property
    def is_behind(self) -> bool:
        """Whether more is available than one batch, or one takes long to be stored."""
        if self._is_full or self._storing_since is None:
            return self._is_full
        return asyncio.get_running_loop().time() - self._storing_since > BEHIND_AFTER

    async def run(self, wait: timedelta) -> None:
        """Store batch after batch, reading the next one meanwhile; raises ConcurrentChangeError."""
        following = asyncio.create_task(self._next(wait))
        try:
            while True:
                records = await following
                following = asyncio.create_task(self._next(wait))
                await self._store(records)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def step(self, wait: timedelta) -> int:
        """Store one batch, waiting for it at most ``wait``; return its number of records."""
        records = await self._next(wait)
        await self._store(records)
        return sum(one.message.error() is None for one in records)

    async def close(self) -> None:
        """Close the consumer."""
        await self._topic.close()

    async def _next(self, wait: timedelta) -> list[Record]:
        most = self._most
        messages = await self._topic.poll(most, wait.total_seconds())
        self._is_full = len(messages) >= most
        return [self._read(message) async for message in with_pauses(messages)]

    def _read(self, message: Message) -> Record:
        if message.error() is not None:
            return Record(message)
        try:
            # A tombstone is no decision.
            return Record(message, self._decisions.read(message.value() or b""))
        except Exception as error:
            if is_poison(error):
                return self._quarantined(message, error)
            raise

    def _quarantined(self, message: Message, error: Exception) -> Record:
        record, standing_in = quarantine(self._codec, message, error)
        decision = None if standing_in is None else self._decisions.read(standing_in)
        return Record(message, decision, record)

    async def _store(self, records: Sequence[Record]) -> None:
        """Store ``records``, but for those at fault."""
        self._storing_since = asyncio.get_running_loop().time()
        await store_apart(records, self._store_together, self._set_aside)
        self._storing_since = None

    async def _set_aside(self, record: Record, error: Exception) -> None:
        if record.decision is None:  # not even its dead letter: the ledger is at fault
            raise error
        if record.quarantined is None:
            again = self._quarantined(record.message, error)
        else:
            again = record._replace(decision=None)
        await store_apart([again], self._store_together, self._set_aside)

    async def _store_together(self, records: Sequence[Record]) -> None:
        records = self._isolation.passing(records)
        topic, held = self._topic, self._isolation.held
        moves = {
            partition: move
            for partition, move in topic.moves([one.message for one in records]).items()
            if partition not in held
        }
        decisions = [one.decision for one in records if one.decision is not None]
        quarantined = [
            one.quarantined
            for one in records
            # What waits is read again, and put aside then.
            if one.quarantined is not None and one.partition not in held
        ]
        if moves or decisions:
            applied = await self._write(topic.topic, topic.topic_id, decisions, moves, quarantined)
            self._most = most_after(applied, len(decisions))
            topic.moved(moves)
        self._isolation.stored(records)


def most_after(applied: int, of: int) -> int:
    """Return the most decisions of the next batch; of the last one's ``of``, ``applied`` were
    applied one by one.
    """
    return FEW if applied * BATCH > FEW * of else BATCH
