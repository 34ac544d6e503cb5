"""Ingest decisions into the ledger: rows, history and offsets in one transaction.

The offsets are stored in the ledger and advance by compare-and-set, so that a rewind, a second
ingester or a crash has no effect. While PostgreSQL writes one batch (``batch``), the next is read
(``reader``).
Opt-outs do not wait behind a backlog (``opt_outs_ahead``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial

from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.runtime.task_cancellation import first_of, with_pauses
from izin.schemas.codec import Codec
from izin.sinks.ingest import new_decisions
from izin.sinks.ingest.batch import Batch, BatchStorage
from izin.sinks.ingest.bootstrap import Bootstrapper
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.isolation import Isolation
from izin.sinks.ingest.opt_outs_ahead import HEAD_START, OptOutsAhead
from izin.sinks.ingest.reader import Reader
from izin.sinks.ingest.topic_reader import TopicReader, open_reader
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.registry.ownership import alert
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.unreadable import QuarantinedRecord

_ATTEMPTS = 3
"""So often a batch is stored of which another process inserts a key meanwhile."""

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Ingester:
    """Reads the topic of decisions into the ledger."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]
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
        self._storage.announcer.forget()
        return Reader(
            await self._open_topic("error"),
            codec=self.codec,
            decisions=self._reader,
            store=self.store,
            isolation=self.isolation,
        )

    def opt_outs_ahead(self, reader: Reader) -> OptOutsAhead:
        """Return what stores opt-outs while ``reader`` is behind."""
        express = self.settings.topics.express.name
        return OptOutsAhead(
            reader,
            express=express,
            recorded=partial(new_decisions.recorded_offsets, self.ledger, express),
            open_topic=partial(self._open_topic, "earliest"),
            decisions=self._reader,
            store=self.store,
        )

    async def _open_topic(self, lost: str) -> TopicReader:
        topic = self.settings.topics.decisions.name
        return await open_reader(self.ledger, self.settings, topic, group="izin-ledger", lost=lost)

    async def read(self, values: Iterable[bytes]) -> list[IncomingDecision]:
        """Return the decisions in ``values``; raises UndecodableError."""
        return [self._reader.read(value) async for value in with_pauses(values)]

    async def store(
        self,
        topic: str,
        topic_id: str,
        decisions: Sequence[IncomingDecision],
        moves: Mapping[int, tuple[int, int]],
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
    def _storing(self) -> asyncio.Lock:
        return asyncio.Lock()

    @cached_property
    def _reader(self) -> DecisionReader:
        return DecisionReader(self.codec)

    @cached_property
    def _storage(self) -> BatchStorage:
        return BatchStorage(self.ledger, self.topic_messages, self._reader)
