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
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from confluent_kafka import Message

from izin.consent import BOOTSTRAP, Consent, Status, restoration
from izin.kafka.clients import watermarks
from izin.ledger import brands, offsets
from izin.ledger.automatic_suspension import counting
from izin.ledger.db import Connection, Ledger, exclusive
from izin.ledger.history import HistoryEntry
from izin.ledger.offsets import Bootstrap, Range
from izin.ledger.privacy import erasure
from izin.ledger.record import (
    BootstrapHeldError,
    ConcurrentChangeError,
    QuarantinedRecord,
    RecreatedTopicError,
    StreamUnavailableError,
    TopicMessages,
    UnknownSuppressionError,
    apply,
)
from izin.ledger.registry.ownership import OtherCustomerOptIn, alert, received
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.runtime.dead_letter_budget import DeadLetterBudget, LatestRecords
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.runtime.process import with_pauses
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SUPPRESSED, SuppressionKeys
from izin.sinks.ingest.ingested_topics import (
    IngestContext,
    IngestedTopic,
    Moves,
    TopicReader,
    every_record,
    identity,
    reader_at,
)
from izin.sinks.ingest.isolation import quarantine


class Suppressions:
    """Until when the opt-ins of erased keys count no more, read before anything is restored.

    They stand in the topic of desired consents, as digests (``schemas.erasure``). An opt-in that is
    not later than the erasure counts no more, whichever copy of the past has it.
    """

    def __init__(self, keys: SuppressionKeys, until: Mapping[bytes, datetime]) -> None:
        self._keys = keys
        self._until = until

    def __len__(self) -> int:
        """How many keys are suppressed."""
        return len(self._until)

    def until(self, key: str) -> datetime | None:
        """Return until when the opt-ins of ``key`` are suppressed; None: it was not erased."""
        if not self._until:
            return None
        return max(
            [self._until[one] for one in self._keys.every(key.encode()) if one in self._until],
            default=None,
        )

    def covers(self, consent: Consent) -> bool:
        """Whether ``consent`` is an opt-in that counts no more."""
        if consent.status is not Status.ONAY:
            return False
        until = self.until(str(consent.key))
        return until is not None and consent.effective_at <= until


async def read_suppressions(
    settings: KafkaSettings, codec: Codec, keys: SuppressionKeys
) -> Suppressions:
    """Return the suppressions in the topic of desired consents.

    Raises:
        UnknownSuppressionError: one was made under a secret that is not among ``keys``.
        StreamUnavailableError: Kafka cannot be reached.
        UndecodableError: one cannot be read.
    """
    until: dict[bytes, datetime] = {}
    async for message in every_record(settings, settings.topics.desired_consents.name):
        key, value = message.key() or b"", message.value()
        if not key.startswith(SUPPRESSED):
            continue
        if not key.startswith(keys.prefixes):
            raise UnknownSuppressionError(message.partition() or 0, message.offset() or 0)
        if value is None:
            until.pop(key, None)
        else:
            until[key] = codec.decode("Consent", value)["effective_at"]
    return Suppressions(keys, until)


_REPORT_EVERY = timedelta(seconds=10)

_log = get_logger(__name__)
_WAIT = timedelta(milliseconds=500)


class StateRecord(NamedTuple):
    """A consent, and the record of the state that has it."""

    topic: str
    partition: int
    offset: int
    consent: Consent


class StateReader(IngestedTopic):
    """Reads partitions of the state, each up to its end, into the ledger.

    ``ends`` has those that are not read to their end yet, and where that is; ``latest`` counts how
    many records could not be stored lately.
    """

    alarm = "desired consent quarantined"
    remedy = "izin dead-letters has it as it was; it may be an opt-out"

    def __init__(
        self,
        context: IngestContext,
        topic: TopicReader,
        *,
        ends: dict[int, int],
        latest: LatestRecords,
        is_suppressed: Callable[[Consent], bool],
    ) -> None:
        super().__init__(context, topic)
        self._ends = ends
        self._latest = latest
        self._is_suppressed = is_suppressed
        self._keys = Counter[int]()
        """How many consents the batch in hand has, by partition."""

    async def is_read(self) -> bool:
        """Whether every partition is read to its end; what is empty is at once."""
        empty = [number for number, end in self._ends.items() if end == 0]
        if empty:
            moves = dict.fromkeys(empty, (0, 0))
            async with self.context.ledger.transaction() as connection:
                await self.advance(connection, moves)
            self.passed(moves)
        return not self._ends

    async def store(self, messages: Sequence[Message]) -> None:
        """Restore the rows of ``messages``."""
        found = [message for message in messages if (message.partition() or 0) in self._ends]
        decode = self.context.codec.decode_consent
        values = [
            (one, one.value())
            for one in found
            # A suppression says that a key was erased, by a digest of it.
            if one.error() is None and not _key(one).encode().startswith(SUPPRESSED)
        ]
        consents = [
            StateRecord(self.topic.topic, one.partition() or 0, one.offset() or 0, consent)
            for one, value in values
            if value is not None and not self._is_suppressed(consent := decode(value))
        ]
        last = {_key(one): value for one, value in values}
        erased = [key for key, value in last.items() if value is None]
        of_others: list[OtherCustomerOptIn] = []

        async def write(connection: Connection) -> None:
            context, now = self.context, self.context.clock()
            of_others.extend(
                await restore_rows(
                    connection, context.ledger, context.topic_messages, consents, now=now
                )
            )
            await erasure.acknowledge_tombstones(connection, erased, now=now)

        self._keys = Counter(one.partition for one in consents)
        await self.save(found, write)
        alert(of_others)
        self._latest.add({}, len(consents))

    async def set_aside(self, message: Message, error: Exception) -> None:
        """Write the dead letter of a record that cannot be stored; raises BootstrapHeldError."""
        record, latest = self.quarantined(message, error), self._latest
        if latest.exceeded_by({record.source: 1}, 1) is not None:
            raise BootstrapHeldError(record.partition, record.error)
        latest.add({record.source: 1}, 1)
        self._keys = Counter()
        await super().set_aside(message, error)

    def quarantined(self, message: Message, error: Exception) -> QuarantinedRecord:
        """Return ``message`` as it is put aside for ``error``."""
        return quarantine(self.context.codec, message, error)[0]

    async def advance(self, connection: Connection, moves: Moves) -> None:
        """Store the offsets after ``moves``."""
        topic, now = self.topic, self.context.clock()
        await offsets.advance_bootstrap(
            connection, topic.topic, topic.topic_id, moves, keys=self._keys, now=now
        )

    def passed(self, moves: Moves) -> None:
        """Read on behind ``moves``, which are stored, but for partitions at their end."""
        super().passed(moves)
        for number, (_, after) in moves.items():
            if after >= self._ends[number]:
                del self._ends[number]


async def restore_rows(
    connection: Connection,
    ledger: Ledger,
    topic_messages: TopicMessages,
    records: Sequence[StateRecord],
    *,
    now: datetime,
) -> list[OtherCustomerOptIn]:
    """Restore the rows of ``records``, the older of a key first; return the opt-ins of other
    customers.
    """
    rows = await lock(connection, {str(one.consent.key) for one in records})
    found = dict(rows)
    known = await brands.known_of_codes(
        connection, {one.consent.key.brand_code for one in records}, now=now
    )
    changes = UnitOfWork(connection, topic_messages, ledger.calendar, now)
    of_others: list[OtherCustomerOptIn] = []
    async for record in with_pauses(records):
        consent = record.consent
        key = str(consent.key)
        before = rows.get(key)
        brand = known.get(consent.key.brand_code)
        after = received(before, apply.restored(before, consent, now), brand, of_others.append)
        if before is None or before.desired_event_id != after.desired_event_id:
            rows[key] = changes.rule(before, after, brand)
        else:
            rows[key] = changes.put(before, after)
        if before != after:
            # Whatever changed: a rebuild has nothing else to know it from.
            changes.add_entry(_restoration(record, after.customer_id, now))
    await changes.write()
    await counting.add_opt_ins(connection, counting.opt_in_changes(found, rows))
    return of_others


def _key(message: Message) -> str:
    return (message.key() or b"").decode(errors="replace")


def _restoration(record: StateRecord, customer_id: str, now: datetime) -> HistoryEntry:
    """Return the history's record of a row of a customer that was restored."""
    consent = record.consent
    return HistoryEntry(
        kind=BOOTSTRAP,
        customer_id=customer_id,
        key=str(consent.key),
        event_id=consent.event_id,
        status=str(consent.status),
        source=f"{record.topic}/{record.partition}/{record.offset}/{now.isoformat()}",
        occurred_at=consent.effective_at,
        data={
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            **restoration(consent),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Bootstrapper(IngestContext):
    """Restores partitions of the ledger; one process at a time does."""

    is_suppressed: Callable[[Consent], bool] = lambda _: False
    """Whether a consent is one of an erased person; the topic's own tombstones say so later."""

    @cached_property
    def latest(self) -> LatestRecords:
        """How many records could not be stored lately."""
        return LatestRecords(DeadLetterBudget(share=self.settings.dead_letter_share))

    @property
    def _topic(self) -> str:
        return self.settings.topics.desired_consents.name

    async def lost(self) -> list[Range]:
        """Return the partitions whose next decision retention has removed.

        Raises: StreamUnavailableError, RecreatedTopicError.
        """
        decisions = self.settings.topics.decisions.name
        cluster_id, topic_id, partitions = await asyncio.to_thread(
            identity, self.settings, decisions
        )
        positions = await offsets.positions(
            self.ledger, decisions, partitions, cluster_id=cluster_id, topic_id=topic_id
        )
        starts = await self._watermarks(decisions)
        lost = {
            partition: starts[partition]
            for partition in partitions
            if positions[partition] < starts[partition][0]
        }
        return await self._ranges(lost) if lost else []

    async def everything(self) -> list[Range]:
        """Return every partition: of a ledger that has nothing. Raises as :meth:`lost`."""
        await self.lost()
        return await self._ranges(await self._watermarks(self.settings.topics.decisions.name))

    async def _ranges(self, decisions: Mapping[int, tuple[int, int]]) -> list[Range]:
        """Return partitions of which these bounds of the topic of decisions are left."""
        ends = await self._watermarks(self._topic)
        return [
            Range(partition=number, decisions_from=start, end_offset=ends[number][1])
            for number, (start, _) in decisions.items()
        ]

    async def _watermarks(self, topic: str) -> Mapping[int, tuple[int, int]]:
        try:
            return await asyncio.to_thread(watermarks, self.settings, topic)
        except BrokerError as error:
            raise StreamUnavailableError(str(error)) from error

    async def begin(self, lost: Sequence[Range], *, by: str | None = None) -> None:
        """Record that the ``lost`` partitions are to be restored, and where decisions go on.

        Where a person ordered it, ``by``, the history has who.
        """
        _, topic_id, _ = await asyncio.to_thread(identity, self.settings, self._topic)
        await offsets.begin_bootstrap(
            self.ledger,
            lost,
            topic=self._topic,
            topic_id=topic_id,
            decisions=self.settings.topics.decisions.name,
            now=self.clock(),
            by=by,
        )

    async def begin_if_lost(self) -> frozenset[int]:
        """Begin to restore the partitions that are lost, with an alert; return all that wait.

        Where the topic of decisions was created again, all are: what it had and was not read is in
        the state. What another cluster has is no reason to forget.

        Raises: StreamUnavailableError, RecreatedTopicError.
        """
        decisions = self.settings.topics.decisions.name
        try:
            lost, is_recreated = await self.lost(), False
        except RecreatedTopicError as error:
            if error.is_other_cluster:
                raise
            lost, is_recreated = await self._ranges(await self._watermarks(decisions)), True
        if lost:
            _log.critical(
                "topic recreated" if is_recreated else "decisions lost",
                topic=decisions,
                partitions=sorted(one.partition for one in lost),
                effect="the ledger is restored from desired-consents and İYS is queried for each "
                "of its keys before an opt-in is submitted; opt-outs go on",
                remedy="izin ledger bootstrap shows the progress; the history lacks what retention "
                "has removed",
            )
            await self.begin(lost)
        if is_recreated:  # not before: a process that ends between the two begins again
            await offsets.forget(self.ledger, decisions)
        return frozenset(one.partition for one in await self.unfinished())

    async def progress(self) -> tuple[Bootstrap, ...]:
        """Return what is being restored, or was."""
        return await offsets.bootstraps(self.ledger, self._topic)

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
        async with exclusive(self.ledger, "bootstrap") as ledger:
            owner = replace(self, ledger=ledger)
            while waiting := await owner.unfinished():
                try:
                    await owner.restore_part(waiting, report or _log_progress)
                except ConcurrentChangeError as error:
                    _log.info("bootstrap restarted", reason=str(error))

    async def restore_part(
        self, waiting: Sequence[Bootstrap], report: Callable[[Sequence[Bootstrap]], None]
    ) -> None:
        """Restore until all is read, or it is time to report."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _REPORT_EVERY.total_seconds()
        positions = {one.partition: one.next_offset for one in waiting}
        reader = TopicReader(
            reader_at(self.settings, self._topic, positions, lost="earliest"),
            topic=self._topic,
            topic_id=waiting[0].topic_id,
            positions=positions,
        )
        state = StateReader(
            self,
            reader,
            ends={one.partition: one.end_offset for one in waiting},
            latest=self.latest,
            is_suppressed=self.is_suppressed,
        )
        try:
            while not await state.is_read() and loop.time() < until:
                await state.step(_WAIT)
        finally:
            await state.close()
        report(await self.progress())


def _log_progress(progress: Sequence[Bootstrap]) -> None:
    _log.warning(
        "bootstrap in progress",
        partitions=sum(one.finished_at is None for one in progress),
        offsets=sum(max(one.end_offset - one.next_offset, 0) for one in progress),
        keys=sum(one.keys for one in progress),
    )
