"""Ingest decisions into the ledger: rows, history and offsets in one transaction.

The offsets are stored in the ledger and advance by compare-and-set, so that a rewind, a second
ingester or a crash has no effect. While PostgreSQL writes one batch (``batch``), the next is read.
Opt-outs do not wait behind a backlog (``opt_outs_ahead``).

A batch that cannot be stored is halved until the record at fault stands alone. That one goes to the
dead letters, as it is, in the transaction that passes its offset; of an opt-out (RET) what can be
read takes effect. So no record stops the ledger, and none is stumbled over twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from confluent_kafka import Message

from izin.runtime.observe import get_logger
from izin.runtime.task_cancellation import first_of, with_pauses
from izin.sinks.ingest.batch import Batch, BatchStorage, most_after
from izin.sinks.ingest.bootstrap import Bootstrapper
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.isolation import Isolation, Record, is_poison, quarantine, store_apart
from izin.sinks.ingest.opt_outs_ahead import HEAD_START, OptOutsAhead
from izin.sinks.ingest.topic_reader import IngestContext, Moves, TopicReader, open_reader
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.registry.ownership import alert
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.unreadable import QuarantinedRecord

_ATTEMPTS = 3
"""So often a batch is stored of which another process inserts a key meanwhile."""
_BEHIND_AFTER = 1.0
"""The seconds after which a batch that is still being stored holds up what comes after it."""

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ingester(IngestContext):
    """Reads the topic of decisions into the ledger."""

    wait: timedelta
    isolation: Isolation = field(default_factory=Isolation)
    """What is put aside; it outlives a reader, so that a conflict does not renew the budget."""

    async def run(self) -> None:
        """Ingest until cancelled, in one process at a time."""
        async with sole(self.ledger, "ingest") as ledger:
            owner = replace(self, ledger=ledger)
            while True:
                restoring = await owner.bootstrapper.begin_if_lost()
                owner.isolation.restoring = frozenset(restoring)
                reader = await owner.open()
                ahead = owner.opt_outs_ahead(reader)
                work = [owner.read_behind(ahead, reader), ahead.run()]
                if restoring:
                    # Until all is restored; then the opt-ins are read.
                    work.append(owner.bootstrapper.restore())
                try:
                    await first_of(*work)
                except ConcurrentChangeError as error:
                    _log.info("ingest restarted", reason=str(error))
                finally:
                    await reader.close()

    async def read_behind(self, ahead: OptOutsAhead, reader: Reader) -> None:
        """Let ``reader`` read, once opt-outs were searched for ``ahead`` of it."""
        await ahead.head_start(HEAD_START)
        await reader.run(self.wait)

    async def open(self) -> Reader:
        """Return a reader at the ledger's offsets.

        Raises: StreamUnavailableError, RecreatedTopicError.
        """
        topic = self.settings.topics.decisions.name
        return Reader(self, await open_reader(self, topic, lost="error"))

    def opt_outs_ahead(self, reader: Reader) -> OptOutsAhead:
        """Return what stores opt-outs while ``reader`` is behind."""
        return OptOutsAhead(
            self, self.decisions, is_behind=lambda: reader.is_behind, store=self.store
        )

    async def store(
        self,
        topic: str,
        topic_id: str,
        decisions: Sequence[IncomingDecision],
        moves: Moves,
        quarantined: Sequence[QuarantinedRecord] = (),
    ) -> int:
        """Write ``decisions``, the dead letters of ``quarantined`` and the offsets after them, and
        publish the offsets last; return how many were applied one by one.

        ``moves`` has the old and the new offset of each partition. One batch is stored at a time:
        an opt-out that is stored ahead may have the key of an opt-in in the reader's batch. Raises
        ConcurrentChangeError where another process has written the offsets, or inserts keys of the
        batch again and again.
        """
        batch = Batch(
            topic=topic,
            topic_id=topic_id,
            decisions=decisions,
            moves=moves,
            quarantined=quarantined,
        )
        async with self._storing:
            for left in reversed(range(_ATTEMPTS)):
                try:
                    stored = await self._storage.store(batch, self.clock())
                    break
                except ConcurrentChangeError as error:
                    if not left:
                        raise
                    _log.info("batch stored again", reason=str(error))
        alert(stored.of_others)
        return len(stored.others)

    @cached_property
    def bootstrapper(self) -> Bootstrapper:
        """What restores the ledger where retention has removed decisions unread."""
        return Bootstrapper(
            ledger=self.ledger,
            topic_messages=self.topic_messages,
            codec=self.codec,
            settings=self.settings,
            clock=self.clock,
        )

    @cached_property
    def decisions(self) -> DecisionReader:
        """What reads the decisions."""
        return DecisionReader(self.codec)

    @cached_property
    def _storing(self) -> asyncio.Lock:
        return asyncio.Lock()

    @cached_property
    def _storage(self) -> BatchStorage:
        return BatchStorage(self.ledger, self.topic_messages, self.decisions)


class Reader:
    """Reads the topic from the ledger's offsets on, a batch ahead of what is stored."""

    def __init__(self, ingester: Ingester, topic: TopicReader) -> None:
        self._ingester = ingester
        self._topic = topic
        self._write = ingester.store
        self._most = most_after(0, 0)
        self._is_full = False
        self._storing_since: float | None = None

    @property
    def is_behind(self) -> bool:
        """Whether more is available than one batch, or one takes long to be stored."""
        if self._is_full or self._storing_since is None:
            return self._is_full
        return asyncio.get_running_loop().time() - self._storing_since > _BEHIND_AFTER

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
            return Record(message, self._ingester.decisions.read(message.value() or b""))
        except Exception as error:
            if is_poison(error):
                return self._quarantined(message, error)
            raise

    def _quarantined(self, message: Message, error: Exception) -> Record:
        ingester = self._ingester
        record, standing_in = quarantine(ingester.codec, message, error)
        decision = None if standing_in is None else ingester.decisions.read(standing_in)
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
        isolation, topic = self._ingester.isolation, self._topic
        records, held = isolation.passing(records), isolation.held
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
        isolation.stored(records)
