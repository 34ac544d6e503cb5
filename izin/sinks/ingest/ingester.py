"""Ingest decisions into the ledger: rows, history and offsets in one transaction.

The offsets are stored in the ledger and advance by compare-and-set, so that a rewind, a second
ingester or a crash has no effect. The newest event by the law's order wins; a stale decision only
updates the latest instants. What many decisions make of their rows alike is written in bulk
(``bulk``), all others are applied one by one. While PostgreSQL writes one batch, the next is read
(``reader``).
Opt-outs do not wait behind a backlog (``opt_outs_ahead``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial

from izin.consent.model import Status
from izin.runtime.observe import get_logger
from izin.runtime.process import first_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest import new_decisions
from izin.sinks.ingest.bootstrap import Bootstrapper
from izin.sinks.ingest.brake_watch import BrakeWatch
from izin.sinks.ingest.bulk import BulkDecisions
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.erasures import erased_keys
from izin.sinks.ingest.isolation import Isolation
from izin.sinks.ingest.opt_outs_ahead import HEAD_START, OptOutsAhead
from izin.sinks.ingest.reader import READ_AT_ONCE, Reader
from izin.sinks.ingest.simple_decisions import DecisionApplier
from izin.sinks.ingest.topic_reader import TopicReader, open_reader
from izin.sinks.ledger import brands, offsets
from izin.sinks.ledger.brake import counting
from izin.sinks.ledger.brake.other_sources import put_back
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.privacy import erasure
from izin.sinks.ledger.registry.ownership import alert
from izin.sinks.ledger.registry.row_owner import OtherCustomerOptIn, received
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages, lock
from izin.sinks.record import ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.messages import TopicMessages
from izin.sinks.record.unreadable import QuarantinedRecord

_ATTEMPTS = 3
"""So often a batch is stored of which another process inserts a key meanwhile."""
_YIELD_EVERY = 50

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
        self._announcer.forget()
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
        decisions = []
        for place, value in enumerate(values):
            decisions.append(self._reader.read(value))
            if place % READ_AT_ONCE == READ_AT_ONCE - 1:
                await asyncio.sleep(0)
        return decisions

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
        batch = (topic, topic_id, decisions, moves, quarantined)
        async with self._storing:
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await self._store(*batch)
                except ConcurrentChangeError as error:
                    _log.info("batch stored again", reason=str(error))
            return await self._store(*batch)

    async def _store(
        self,
        topic: str,
        topic_id: str,
        decisions: Sequence[IncomingDecision],
        moves: Mapping[int, tuple[int, int]],
        quarantined: Sequence[QuarantinedRecord],
    ) -> int:
        now = self.clock()
        erasures = erased_keys(self._reader, decisions, now)
        if erasures:
            decisions = [one for one in decisions if not one.is_erasure]
        async with self.ledger.transaction() as connection:
            if moves:
                await offsets.advance(connection, topic, topic_id, moves)
            known = await _brands(connection, decisions, now)
            watched = await counting.watched(connection, known)
            changes = UnitOfWork(self.topic_messages, now=now)
            facts = await new_decisions.facts(connection, decisions, self._reader, known)
            changes.add_history(facts)
            bulk = BulkDecisions(
                changes, self._applier, known, watched, calendar=self.ledger.calendar
            )
            others, entries = await bulk.save(connection, decisions)
            watch = BrakeWatch.begin(self._reader, watched, decisions, entries)
            of_others = await self._apply(changes, others, entries, known)
            if moves:
                announced, left = await self._announcer.message(connection, topic, moves, now)
                if not erasures:
                    changes.add_last(announced)
            await changes.write(connection)
            behind = await watch.end(connection, entries, now)
            behind += [one.key for one in entries.values() if _is_kept_back(one)]
            if behind:
                changes = UnitOfWork(self.topic_messages, now=now)
                held = (await lock(connection, behind)).values()
                await put_back(connection, changes, held, known, calendar=self.ledger.calendar)
                await changes.write(connection)
            if erasures:
                await erasure.acknowledge(connection, erasures, now=now)
            if quarantined:
                letters = [self.topic_messages.quarantined(one, now) for one in quarantined]
                await append_messages(connection, letters, now)
            if moves and erasures:
                await append_messages(connection, [announced], now)
        if moves:
            self._announcer.committed(left)
        alert(of_others)
        return len(others)

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
    def _announcer(self) -> offsets.Announcer:
        return offsets.Announcer(self.topic_messages)

    @cached_property
    def _storing(self) -> asyncio.Lock:
        return asyncio.Lock()

    @cached_property
    def _reader(self) -> DecisionReader:
        return DecisionReader(self.codec)

    @cached_property
    def _applier(self) -> DecisionApplier:
        return DecisionApplier(self._reader)

    async def _apply(
        self,
        changes: UnitOfWork,
        decisions: Sequence[IncomingDecision],
        entries: dict[str, ConsentRow],
        known: Mapping[int, Brand],
    ) -> list[OtherCustomerOptIn]:
        """Apply ``decisions`` to their rows one by one; return the opt-ins of other customers."""
        now = changes.now
        of_others: list[OtherCustomerOptIn] = []
        last = {one.key: place for place, one in enumerate(decisions)}
        for place, decision in enumerate(decisions):
            before = entries.get(decision.key)
            entry = self._applier.apply(before, decision, now)
            brand = known.get(entry.brand_code)
            entry = received(before, entry, brand, of_others.append)
            if last[decision.key] == place:
                ruled = ruling.rule_row(entry, brand, now, calendar=self.ledger.calendar)
                entries[decision.key] = changes.apply(before, ruled)
            else:
                entries[decision.key] = changes.put(before, entry)
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                # Let pushes in, which share this event loop.
                await asyncio.sleep(0)
        return of_others


def _is_kept_back(row: ConsentRow) -> bool:
    """Whether a row desires an opt-out that is held back, or that a person has withdrawn."""
    is_kept = row.brake_id is not None or row.withdrawn_at is not None
    return is_kept and row.desired_status == Status.RET


async def _brands(
    connection: Connection, decisions: Sequence[IncomingDecision], now: datetime
) -> dict[int, Brand]:
    """Return the brands of ``decisions`` that are registered, and note the others."""
    codes = {one.brand_code for one in decisions}
    known = await brands.of_codes(connection, codes)
    if codes - known.keys():
        await brands.note_unknown(connection, codes - known.keys(), now=now)
    return known
