"""Read the topic of desired consents into the ledger, page by page, each in one transaction."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from confluent_kafka import Message

from izin.consent.fold import BOOTSTRAP, restoration
from izin.consent.model import Consent
from izin.runtime.dead_letter_budget import LatestRecords
from izin.runtime.observe import get_logger
from izin.schemas.codec import Codec
from izin.schemas.erasure import SUPPRESSED
from izin.sinks.ingest.poison import quarantine, store_apart
from izin.sinks.ingest.topic_reader import TopicReader
from izin.sinks.ledger import bootstraps, brands
from izin.sinks.ledger.brake import counting
from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.privacy import erasure
from izin.sinks.ledger.registry.ownership import OtherCustomerOptIn, alert, received
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages, lock
from izin.sinks.record import apply, ruling
from izin.sinks.record.errors import BootstrapHeldError
from izin.sinks.record.messages import TopicMessages

_PAGE = 2000
_WAIT = 0.5
_YIELD_EVERY = 50

_log = get_logger(__name__)


class StateRecord(NamedTuple):
    """A consent, and the record of the state that has it."""

    topic: str
    partition: int
    offset: int
    consent: Consent


@dataclass(frozen=True, slots=True, kw_only=True)
class StateReader:
    """Reads partitions of the state, each up to its end, into the ledger."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    clock: Callable[[], datetime]
    latest: LatestRecords
    """How many records could not be stored lately."""
    reader: TopicReader
    ends: dict[int, int]
    """Of the partitions that are not read to their end yet: where that is."""
    is_suppressed: Callable[[Consent], bool] = lambda _: False

    async def is_read(self) -> bool:
        """Whether every partition is read to its end; what is empty is at once."""
        empty = [number for number, end in self.ends.items() if end == 0]
        if empty:
            async with self.ledger.transaction() as connection:
                await self._advance(connection, dict.fromkeys(empty, (0, 0)), {})
            for number in empty:
                del self.ends[number]
        return not self.ends

    async def step(self) -> None:
        """Store one page; what cannot be stored is put aside."""
        messages = await self.reader.poll(_PAGE, _WAIT)
        await store_apart(messages, self._store, self._set_aside)

    async def _store(self, messages: Sequence[Message]) -> None:
        found = [one for one in messages if (one.partition() or 0) in self.ends]
        values = [
            (one, one.value()) for one in found if one.error() is None and not _is_suppression(one)
        ]
        consents = [
            StateRecord(self.reader.topic, one.partition() or 0, one.offset() or 0, consent)
            for one, value in values
            if value is not None and not self.is_suppressed(consent := self._decode(value))
        ]
        last = {_key(one): value for one, value in values}
        erased = [key for key, value in last.items() if value is None]
        moves = self.reader.moves(found)
        if not moves:
            return
        keys = Counter(one.partition for one in consents)
        async with self.ledger.transaction() as connection:
            await self._advance(connection, moves, keys)
            of_others = await restore_rows(
                connection, self.ledger, self.topic_messages, consents, now=self.clock()
            )
            await erasure.acknowledge_tombstones(connection, erased, now=self.clock())
        alert(of_others)
        self._passed(moves)
        self.latest.add({}, len(consents))

    def _decode(self, value: bytes) -> Consent:
        return self.codec.decode_consent(value)

    async def _set_aside(self, message: Message, error: Exception) -> None:
        """Write the dead letter of a record that cannot be stored; raises BootstrapHeldError."""
        record, _ = quarantine(self.codec, message, error)
        latest = self.latest
        if latest.exceeded_by({record.source: 1}, 1) is not None:
            raise BootstrapHeldError(record.partition, record.error)
        latest.add({record.source: 1}, 1)
        now, messages = self.clock(), self.topic_messages
        moves = self.reader.moves([message])
        async with self.ledger.transaction() as connection:
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
        topic, now = self.reader, self.clock()
        await bootstraps.advance(connection, topic.topic, topic.topic_id, moves, keys=keys, now=now)

    def _passed(self, moves: Mapping[int, tuple[int, int]]) -> None:
        self.reader.moved(moves)
        for number, (_, after) in moves.items():
            if after >= self.ends[number]:
                del self.ends[number]


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
    codes = {one.consent.key.brand_code for one in records}
    known = await brands.of_codes(connection, codes)
    if codes - known.keys():
        await brands.note_unknown(connection, codes - known.keys(), now=now)
    changes = UnitOfWork(topic_messages, now=now)
    of_others: list[OtherCustomerOptIn] = []
    for place, record in enumerate(records):
        consent = record.consent
        key = str(consent.key)
        before = rows.get(key)
        brand = known.get(consent.key.brand_code)
        restored = apply.restored(before, consent, now)
        after = received(before, restored, brand, of_others.append)
        if before is None or before.desired_event_id != after.desired_event_id:
            ruled = ruling.rule_row(after, brand, now, calendar=ledger.calendar)
            rows[key] = changes.apply(before, ruled)
        else:
            rows[key] = changes.put(before, after)
        if before != after:
            # Whatever changed: a rebuild has nothing else to know it from.
            changes.add_movement(_restoration(record, after.customer_id, now))
        if place % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)
    await changes.write(connection)
    await counting.add_opt_ins(connection, counting.opt_in_changes(found, rows))
    return of_others


def _key(message: Message) -> str:
    return (message.key() or b"").decode(errors="replace")


def _is_suppression(message: Message) -> bool:
    """Whether a record says that a key was erased, by a digest of it."""
    return _key(message).encode().startswith(SUPPRESSED)


def _restoration(record: StateRecord, customer_id: str, now: datetime) -> Movement:
    """Return the history's record of a row of a customer that was restored."""
    consent = record.consent
    return Movement(
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
