"""Decisions into the ledger: rows, history, what is owed, and the offsets, in one transaction.

The offsets lie in the ledger and move by compare-and-set, so a rewind, a second ingester or a
crash between changes nothing. The newest desired by the law's order wins; a stale decision only
notes the latest instants. New keys that are merely owed are stamped out by the thousand
(``plainly``), the rest is ruled row by row. While PostgreSQL takes one batch the next is read. A
decision that cannot be read stops the ingester: ours wrote it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from izin.runtime.observe import get_logger
from izin.sinks.ingest import new_decisions
from izin.sinks.ingest.bulk_rows import BulkRows
from izin.sinks.ingest.decision_reader import DecisionReader, Read
from izin.sinks.ingest.simple_decisions import FastApply
from izin.sinks.ingest.topic_reader import TopicReader, open_reader
from izin.sinks.ledger import brands, offsets
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.unit_of_work import UnitOfWork, lock
from izin.sinks.record import ruling
from izin.sinks.record.errors import ConcurrentChangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec
    from izin.sinks.record.brand import Brand
    from izin.sinks.record.messages import TopicMessages
    from izin.sinks.record.row import ConsentRow

BATCH = 8000
"""The most decisions of a transaction; where fewer have come, nothing is waited for."""
FEW = 1000
"""The most of a transaction that are ruled one by one, as far as the batch before tells: a key is
held while its transaction lasts, and an opt-out must not wait for seconds.
"""
_YIELD_EVERY = 50
_READ_AT_ONCE = 16
"""Of the next batch, between two helpings of the one that is written: so that PostgreSQL waits for
nothing, and the next is read while it is waited for.
"""
_HELPING = 400
_CONSENTS = statements("consents")
_OUTBOX = statements("outbox")

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

    async def run(self) -> None:
        """Ingest until cancelled; one process at a time does."""
        async with self.ledger.sole("ingest"):
            while True:
                reader = await self.open()
                try:
                    await reader.run(self.wait)
                except ConcurrentChangeError as error:
                    _log.info("read again", reason=str(error))
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

    async def read(self, values: Iterable[bytes]) -> list[Read]:
        """Return the decisions that ``values`` frame; raises UndecodableError."""
        reads = []
        for place, value in enumerate(values):
            reads.append(self._reader.read(value))
            if place % _READ_AT_ONCE == _READ_AT_ONCE - 1:
                await asyncio.sleep(0)
        return reads

    async def keep(
        self, topic: str, topic_id: str, reads: Sequence[Read], moves: Mapping[int, tuple[int, int]]
    ) -> int:
        """Write what was read, and that it was; return of how many the rulings were asked one by
        one. Raises ConcurrentChangeError if another wrote it.
        """
        now = self.clock()
        async with self.ledger.transaction() as connection:
            await offsets.advance(connection, topic, topic_id, moves)
            entries = await lock(connection, {read.key for read in reads})
            codes = {read.brand_code for read in reads}
            known = await brands.of_codes(connection, codes)
            if codes - known.keys():
                await brands.note_unknown(connection, codes - known.keys(), now=now)
            changes = UnitOfWork(self.topic_messages, now=now)
            changes.add_history(await new_decisions.facts(connection, reads, self._reader))
            bulk = BulkRows(
                self._reader, self.topic_messages, known, now=now, calendar=self.ledger.calendar
            )
            alone, others = _parted(reads, entries)
            others += await self._write_bulk(connection, bulk, alone)
            changes.add_actions(bulk.due_actions)
            await self._rule(changes, others, entries, known)
            await changes.write(connection)
        return len(others)

    @cached_property
    def _reader(self) -> DecisionReader:
        return DecisionReader(self.codec)

    @cached_property
    def _facts(self) -> FastApply:
        return FastApply(self._reader)

    async def _write_bulk(
        self, connection: Connection, bulk: BulkRows, reads: Sequence[Read]
    ) -> list[Read]:
        """Write the rows of new keys; return the decisions whose rows the rulings must make."""
        rest: list[Read] = []
        messages: list[bytes] = []

        def consents() -> Iterator[bytes]:
            for start in range(0, len(reads), _HELPING):
                made = [(read, bulk.make(read)) for read in reads[start : start + _HELPING]]
                rest.extend(read for read, one in made if one is None)
                messages.append(b"".join([one[1] for _, one in made if one is not None]))
                yield b"".join([one[0] for _, one in made if one is not None])

        if reads:
            await copy(connection, _CONSENTS["copy"], consents())
        if any(messages):
            await copy(connection, _OUTBOX["copy"], messages)
            await connection.execute(f"NOTIFY {notifications.OUTBOX}")
        return rest

    async def _rule(
        self,
        changes: UnitOfWork,
        reads: Sequence[Read],
        entries: dict[str, ConsentRow],
        known: Mapping[int, Brand],
    ) -> None:
        """Make the rows of ``reads`` one by one."""
        now = changes.now
        last = {read.key: place for place, read in enumerate(reads)}
        for place, read in enumerate(reads):
            before = entries.get(read.key)
            entry = self._facts.decided(before, read, now)
            if last[read.key] == place:
                brand = known.get(entry.brand_code)
                ruled = ruling.rule_row(entry, brand, now, calendar=self.ledger.calendar)
                entries[read.key] = changes.apply(before, ruled)
            else:
                entries[read.key] = changes.put(before, entry)
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                # Pushes share this loop and must not wait for a whole batch.
                await asyncio.sleep(0)


class Reader:
    """The topic from the ledger's offsets on."""

    def __init__(self, ingester: Ingester, topic: TopicReader) -> None:
        self._ingester = ingester
        self._topic = topic
        self._most = BATCH

    async def run(self, wait: timedelta) -> None:
        """Ingest what comes, and read the next batch meanwhile; raises ConcurrentChangeError."""
        coming = asyncio.create_task(self._next(wait))
        try:
            while True:
                reads, moves = await asyncio.shield(coming)
                coming = asyncio.create_task(self._next(wait))
                await self._keep(reads, moves)
        finally:
            # A consumer that a thread still asks must not be closed.
            await asyncio.gather(coming, return_exceptions=True)

    async def step(self, wait: timedelta) -> int:
        """Ingest what has come, waiting no longer than ``wait``; return how many decisions."""
        reads, moves = await self._next(wait)
        await self._keep(reads, moves)
        return len(reads)

    async def close(self) -> None:
        """Close the consumer."""
        await self._topic.close()

    async def _next(self, wait: timedelta) -> tuple[list[Read], Mapping[int, tuple[int, int]]]:
        topic = self._topic
        messages = await topic.poll(self._most, wait.total_seconds())
        values = [one.value() for one in messages if one.error() is None]
        reads = await self._ingester.read(value for value in values if value is not None)
        moves = topic.moves(messages)
        topic.moved(moves)
        return reads, moves

    async def _keep(self, reads: Sequence[Read], moves: Mapping[int, tuple[int, int]]) -> None:
        if moves:
            topic = self._topic
            ruled = await self._ingester.keep(topic.topic, topic.topic_id, reads, moves)
            self._most = most_after(ruled, len(reads))


def most_after(ruled: int, of: int) -> int:
    """Return the most decisions of a batch, if of those before ``ruled`` were ruled one by one."""
    return FEW if ruled * BATCH > FEW * of else BATCH


def _parted(
    reads: Sequence[Read], entries: Mapping[str, ConsentRow]
) -> tuple[list[Read], list[Read]]:
    """Return the decisions on keys that have no row and are spoken of once, and all others."""
    spoken = Counter(read.key for read in reads)
    alone: list[Read] = []
    others: list[Read] = []
    for read in reads:
        is_alone = spoken[read.key] == 1 and read.key not in entries
        (alone if is_alone else others).append(read)
    return alone, others
