"""Ingest decisions into the ledger: rows, history and offsets in one transaction.

The offsets are stored in the ledger and advance by compare-and-set, so that a rewind, a second
ingester or a crash has no effect. While PostgreSQL writes one batch (``batch``), the next is read.

A batch that cannot be stored is halved until the record at fault stands alone. That one goes to the
dead letters, as it is, in the transaction that passes its offset; of an opt-out (RET) what can be
read takes effect. So no record stops the ledger, and none is stumbled over twice.

Opt-outs of the express lane are stored ahead of the decisions that stand before them. Decisions of
both lanes come in one topic. A first load or an outage leaves millions of them unread, and an
opt-out must not wait until all are stored. The ledger knows no order of arrival, so while its
reader is behind, the topic is searched for opt-outs up to its end, and they are stored with their
positions unchanged: each is read again in its turn, and changes nothing then. A search that is
started again passes those that the history has already.

A new reader gives the search a head start: its first batches, all of a backlog, would have the
database and the event loop to themselves while the search opens.

Only the express lane is searched for: an opt-out that was published with the bulk is bulk. Stored
ahead it would have every decision before it on its lane looked up in the history, one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from confluent_kafka import Message

from izin.ledger.db import exclusive
from izin.ledger.record import ConcurrentChangeError, QuarantinedRecord
from izin.ledger.registry.ownership import alert
from izin.runtime.logs import get_logger
from izin.runtime.process import first_of, with_pauses
from izin.schemas.fast.writer import long_bytes
from izin.sinks.ingest.batch import FEW, Batch, BatchStorage, most_after, recorded_offsets
from izin.sinks.ingest.bootstrap import Bootstrapper
from izin.sinks.ingest.catch_up import CatchUp
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.ingested_topics import IngestContext, Moves, TopicReader, open_reader
from izin.sinks.ingest.isolation import Isolation, Record, is_poison, quarantine, store_apart

_ATTEMPTS = 3
"""So often a batch is stored of which another process inserts a key meanwhile."""
_BEHIND_AFTER = 1.0
"""The seconds after which a batch that is still being stored holds up what comes after it."""

_SEARCHED_AT_ONCE = 4000
_MOST_FOUND = 10_000
"""With more found than this, the search waits until some are stored: memory is bounded."""
_WAIT = 0.2
_LOOK_EVERY = 0.2
HEAD_START = 5.0
"""The most seconds that a new reader waits for its first search."""

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ingester(IngestContext):
    """Reads the topic of decisions into the ledger."""

    wait: timedelta
    isolation: Isolation = field(default_factory=Isolation)
    """What is put aside; it outlives a reader, so that a conflict does not renew the budget."""

    async def run(self) -> None:
        """Ingest until cancelled, in one process at a time."""
        async with exclusive(self.ledger, "ingest") as ledger:
            owner = replace(self, ledger=ledger)
            await owner.catch_up.begin()
            while True:
                restoring = await owner.bootstrapper.begin_if_lost()
                owner.isolation.restoring = frozenset(restoring)
                reader = await owner.open()
                ahead = OptOutsAhead(owner, reader)
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
        return Reader(self, await self.open_topic("error"))

    async def open_topic(self, lost: str) -> TopicReader:
        """Return the topic of decisions; ``lost`` and errors as in ``open_reader``."""
        return await open_reader(self, self.settings.topics.decisions.name, lost=lost)

    async def store(
        self,
        topic: str,
        topic_id: str,
        decisions: Sequence[IncomingDecision],
        moves: Moves,
        quarantined: Sequence[QuarantinedRecord] = (),
    ) -> None:
        """Write ``decisions``, the dead letters of ``quarantined`` and the offsets after them, and
        publish the offsets last.

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
    def catch_up(self) -> CatchUp:
        """What holds the ledger while it reads again what it has lost."""
        return CatchUp(
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
        self._most = FEW
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
        return sum(record.message.error() is None for record in records)

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
        record, substitute = quarantine(ingester.codec, message, error)
        return Record(
            message, None if substitute is None else ingester.decisions.read(substitute), record
        )

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
            for partition, move in topic.moves([record.message for record in records]).items()
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
            loop = asyncio.get_running_loop()
            began = loop.time()
            await self._write(topic.topic, topic.topic_id, decisions, moves, quarantined)
            self._most = most_after(self._most, len(decisions), loop.time() - began)
            topic.moved(moves)
        isolation.stored(records)


class OptOutsAhead:
    """Searches the topic for opt-outs while ``reader`` is behind."""

    def __init__(self, ingester: Ingester, reader: Reader) -> None:
        self._ingester = ingester
        self._reader = reader
        self._is_released = asyncio.Event()
        self._express = ingester.settings.topics.express.name
        name = self._express.encode()
        self._mark = long_bytes(len(name)) + name
        """What every decision has whose event came by the express lane, and hardly another."""

    async def run(self) -> None:
        """Search once, and whenever the reader is behind, until cancelled.

        Raises: StreamUnavailableError, RecreatedTopicError, ConcurrentChangeError.
        """
        while True:
            if self._reader.is_behind or not self._is_released.is_set():
                await self._search()
                self._is_released.set()
            await asyncio.sleep(_LOOK_EVERY)

    async def head_start(self, seconds: float) -> None:
        """Wait until the first search has stored what it found, at most ``seconds``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_released.wait(), seconds)
        self._is_released.set()

    async def _search(self) -> None:
        """Search up to the end of the topic, or while the reader is behind, and store meanwhile
        what was found so far: a batch that is stored ahead waits for one of the reader.
        """
        ingester = self._ingester
        recorded = await recorded_offsets(ingester.ledger, self._express)
        topic = await ingester.open_topic("earliest")
        found: list[IncomingDecision] = []
        count = 0
        storing = asyncio.create_task(self._store(topic, []))
        try:
            unread = set(topic.positions)
            while self._reader.is_behind or (unread and not self._is_released.is_set()):
                messages = await topic.poll(_SEARCHED_AT_ONCE, _WAIT)
                new = await self._opt_outs(messages, recorded)
                topic.moved(topic.moves(messages))
                unread -= topic.at_end
                found, count = found + new, count + len(new)
                if storing.done() or len(found) > _MOST_FOUND:
                    await storing
                    batch, found = found[:FEW], found[FEW:]
                    storing = asyncio.create_task(self._store(topic, batch))
            await storing
            await self._store(topic, found)
        finally:
            storing.cancel()
            await asyncio.gather(storing, return_exceptions=True)
            await topic.close()
        if count:
            _log.info("opt-outs stored ahead", opt_outs=count)

    async def _opt_outs(
        self, messages: Sequence[Message], recorded: Mapping[int, int]
    ) -> list[IncomingDecision]:
        found, mark = [], self._mark
        marked = [
            value
            for value in [message.value() for message in messages if message.error() is None]
            if value is not None and mark in value
        ]
        async for value in with_pauses(marked):
            found += [
                decision
                for decision in self._read(value)
                if decision.offset >= recorded.get(decision.partition, 0)
            ]
        return found

    def _read(self, value: bytes) -> list[IncomingDecision]:
        try:
            decision = self._ingester.decisions.read(value)
        except Exception as error:
            if is_poison(error):  # the reader puts it aside in its turn
                return []
            raise
        return [decision] if decision.is_ret and decision.topic == self._express else []

    async def _store(self, topic: TopicReader, opt_outs: Sequence[IncomingDecision]) -> None:
        async def store(some: Sequence[IncomingDecision]) -> None:
            await self._ingester.store(topic.topic, topic.topic_id, some, {})

        for start in range(0, len(opt_outs), FEW):
            await store_apart(opt_outs[start : start + FEW], store, _leave)


async def _leave(_: IncomingDecision, __: Exception) -> None:
    """Do nothing: the reader puts it aside in its turn."""
