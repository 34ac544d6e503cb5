"""Restore the ledger from the topic of desired consents, where retention removed its decisions.

A new ledger, or one that was away for longer than decisions are kept, cannot be rebuilt from them.
The compacted topic has the winner of every key. For each partition the offset is recorded first
from which decisions are left, then the state is read up to its end; whatever changes meanwhile is
among those decisions. Rows and offset advance in one transaction, so a killed process goes on where
it was, and a row that is newer by the law's order stays as it is.

What İYS holds is not in that topic: it is unknown, and queried before an ONAY is submitted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from confluent_kafka import Message

from izin.consent.model import Consent
from izin.runtime.dead_letter_budget import DeadLetterBudget, LatestRecords
from izin.runtime.kafka import watermarks
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.poison import quarantine, store_apart
from izin.sinks.ingest.topic_reader import TopicReader, identity, reader_at
from izin.sinks.ledger import bootstraps, brands, offsets
from izin.sinks.ledger.bootstraps import Bootstrap, Range
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages, lock
from izin.sinks.record import apply, ruling
from izin.sinks.record.consent_row import BOOTSTRAP
from izin.sinks.record.errors import BootstrapHeldError, ConcurrentChangeError
from izin.sinks.record.messages import TopicMessages

_PAGE = 2000
_WAIT = 0.5
_YIELD_EVERY = 50
_REPORT_EVERY = timedelta(seconds=10)

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bootstrapper:
    """Restores partitions of the ledger; one process at a time does."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]

    @cached_property
    def latest(self) -> LatestRecords:
        """How many records could not be stored lately."""
        return LatestRecords(DeadLetterBudget(share=self.settings.dead_letter_share))

    @property
    def _topic(self) -> str:
        return self.settings.topics.desired_consents.name

    async def lost(self) -> list[Range]:
        """Return the partitions whose next decision retention has removed.

        Raises: BrokerError, StreamUnavailableError, RecreatedTopicError.
        """
        decisions = self.settings.topics.decisions.name
        cluster_id, topic_id, partitions = await asyncio.to_thread(
            identity, self.settings, decisions
        )
        positions = await offsets.positions(
            self.ledger, decisions, partitions, cluster_id=cluster_id, topic_id=topic_id
        )
        starts = await asyncio.to_thread(watermarks, self.settings, decisions)
        lost = [number for number in partitions if positions[number] < starts[number][0]]
        if not lost:
            return []
        ends = await asyncio.to_thread(watermarks, self.settings, self._topic)
        return [
            Range(partition=number, decisions_from=starts[number][0], end_offset=ends[number][1])
            for number in lost
        ]

    async def begin(self, lost: Sequence[Range]) -> None:
        """Record that the ``lost`` partitions are to be restored, and where decisions go on."""
        _, topic_id, _ = await asyncio.to_thread(identity, self.settings, self._topic)
        await bootstraps.begin(
            self.ledger,
            lost,
            topic=self._topic,
            topic_id=topic_id,
            decisions=self.settings.topics.decisions.name,
            now=self.clock(),
        )

    async def begin_if_lost(self) -> frozenset[int]:
        """Begin to restore the partitions that are lost, with an alert; return all that wait."""
        lost = await self.lost()
        if lost:
            _log.critical(
                "decisions lost",
                partitions=sorted(one.partition for one in lost),
                effect="the ledger is restored from desired-consents and İYS is queried for each "
                "of its keys before an opt-in is submitted; opt-outs go on",
                remedy="izin ledger bootstrap shows the progress; the history lacks what retention "
                "has removed",
            )
            await self.begin(lost)
        return frozenset(one.partition for one in await self.unfinished())

    async def progress(self) -> tuple[Bootstrap, ...]:
        """Return what is being restored, or was."""
        return await bootstraps.progress(self.ledger, self._topic)

    async def unfinished(self) -> tuple[Bootstrap, ...]:
        """Return what is still to be restored."""
        return tuple(one for one in await self.progress() if one.finished_at is None)

    async def restore(self) -> None:
        """Restore what is to be restored; where a person must look, call one and wait for ever."""
        try:
            await self.run()
        except BootstrapHeldError as error:
            _log.critical(
                "bootstrap held back", error=str(error), effect="opt-ins wait; opt-outs go on"
            )
            await asyncio.Event().wait()

    async def run(self, report: Callable[[Sequence[Bootstrap]], None] | None = None) -> None:
        """Restore what is to be restored, with a ``report`` of the progress every ten seconds.

        Raises: BootstrapHeldError.
        """
        async with self.ledger.sole("bootstrap"):
            while waiting := await self.unfinished():
                try:
                    await self._restore(waiting, report or _log_progress)
                except ConcurrentChangeError as error:
                    _log.info("bootstrap restarted", reason=str(error))

    async def _restore(
        self, waiting: Sequence[Bootstrap], report: Callable[[Sequence[Bootstrap]], None]
    ) -> None:
        """Restore until all is read, or it is time to report."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _REPORT_EVERY.total_seconds()
        positions = {one.partition: one.next_offset for one in waiting}
        client = reader_at(
            self.settings, self._topic, positions, group="izin-ledger", lost="earliest"
        )
        reader = TopicReader(
            client, topic=self._topic, topic_id=waiting[0].topic_id, positions=positions
        )
        state = _StateReader(self, reader, {one.partition: one.end_offset for one in waiting})
        try:
            while not await state.is_read() and loop.time() < until:
                await state.step()
        finally:
            await reader.close()
        report(await self.progress())


class _StateReader:
    """Reads partitions of the state, each up to its end, into the ledger."""

    def __init__(
        self, bootstrapper: Bootstrapper, reader: TopicReader, ends: Mapping[int, int]
    ) -> None:
        self._bootstrapper = bootstrapper
        self._reader = reader
        self._ends = dict(ends)

    async def is_read(self) -> bool:
        """Whether every partition is read to its end; what is empty is at once."""
        empty = [number for number, end in self._ends.items() if end == 0]
        if empty:
            async with self._bootstrapper.ledger.transaction() as connection:
                await self._advance(connection, dict.fromkeys(empty, (0, 0)), {})
            for number in empty:
                del self._ends[number]
        return not self._ends

    async def step(self) -> None:
        """Store one page; what cannot be stored is put aside."""
        messages = await self._reader.poll(_PAGE, _WAIT)
        await store_apart(messages, self._store, self._set_aside)

    async def _store(self, messages: Sequence[Message]) -> None:
        found = [one for one in messages if (one.partition() or 0) in self._ends]
        values = [(one, one.value()) for one in found if one.error() is None]
        # A tombstone is a key that was erased.
        consents = [(one, self._decode(value)) for one, value in values if value is not None]
        moves = self._reader.moves(found)
        if not moves:
            return
        keys = Counter(one.partition() or 0 for one, _ in consents)
        async with self._bootstrapper.ledger.transaction() as connection:
            await self._advance(connection, moves, keys)
            await self._apply(connection, consents)
        self._passed(moves)
        self._bootstrapper.latest.add({}, len(consents))

    def _decode(self, value: bytes) -> Consent:
        return self._bootstrapper.codec.decode_consent(value)

    async def _set_aside(self, message: Message, error: Exception) -> None:
        """Write the dead letter of a record that cannot be stored; raises BootstrapHeldError."""
        record, _ = quarantine(self._bootstrapper.codec, message, error)
        latest = self._bootstrapper.latest
        if latest.exceeded_by({record.source: 1}, 1) is not None:
            raise BootstrapHeldError(record.partition, record.error)
        latest.add({record.source: 1}, 1)
        now, messages = self._bootstrapper.clock(), self._bootstrapper.topic_messages
        moves = self._reader.moves([message])
        async with self._bootstrapper.ledger.transaction() as connection:
            await self._advance(connection, moves, {})
            await append_messages(connection, [messages.quarantined(record, now)], now)
        self._passed(moves)
        _log.critical(
            "desired consent quarantined",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            error=record.error,
            remedy="izin dead-letters has it as it was; it may be an opt-out",
        )

    async def _advance(
        self, connection: Connection, moves: Mapping[int, tuple[int, int]], keys: Mapping[int, int]
    ) -> None:
        topic, now = self._reader, self._bootstrapper.clock()
        await bootstraps.advance(connection, topic.topic, topic.topic_id, moves, keys=keys, now=now)

    def _passed(self, moves: Mapping[int, tuple[int, int]]) -> None:
        self._reader.moved(moves)
        for number, (_, after) in moves.items():
            if after >= self._ends[number]:
                del self._ends[number]

    async def _apply(
        self, connection: Connection, consents: Sequence[tuple[Message, Consent]]
    ) -> None:
        """Restore the rows of ``consents``, the older of a key first."""
        bootstrapper = self._bootstrapper
        now, calendar = bootstrapper.clock(), bootstrapper.ledger.calendar
        rows = await lock(connection, {str(one.key) for _, one in consents})
        codes = {one.key.brand_code for _, one in consents}
        known = await brands.of_codes(connection, codes)
        if codes - known.keys():
            await brands.note_unknown(connection, codes - known.keys(), now=now)
        changes = UnitOfWork(bootstrapper.topic_messages, now=now)
        for place, (message, consent) in enumerate(consents):
            key = str(consent.key)
            before = rows.get(key)
            after = apply.restored(before, consent, now)
            if before is None or before.desired_event_id != after.desired_event_id:
                brand = known.get(consent.key.brand_code)
                ruled = ruling.rule_row(after, brand, now, calendar=calendar)
                rows[key] = changes.apply(before, ruled)
                changes.add_movement(_restoration(message, consent, now))
            else:
                rows[key] = changes.put(before, after)
            if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        await changes.write(connection)


def _restoration(message: Message, consent: Consent, now: datetime) -> Movement:
    """Return the history's record of a row that was restored."""
    return Movement(
        kind=BOOTSTRAP,
        customer_id=consent.customer_id,
        key=str(consent.key),
        event_id=consent.event_id,
        status=str(consent.status),
        source=f"{message.topic()}/{message.partition()}/{message.offset()}/{now.isoformat()}",
        occurred_at=consent.effective_at,
        data={
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "origin": consent.origin,
            "source": consent.source,
            "consent_date": consent.consent_date,
        },
    )


def _log_progress(progress: Sequence[Bootstrap]) -> None:
    _log.warning(
        "bootstrap in progress",
        partitions=sum(one.finished_at is None for one in progress),
        offsets=sum(max(one.end_offset - one.next_offset, 0) for one in progress),
        keys=sum(one.keys for one in progress),
    )
