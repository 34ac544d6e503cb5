"""Store one batch of decisions in one transaction: its steps, in the order that counts.

The newest event by the law's order wins; a stale decision only updates the latest instants. What
many decisions make of their rows alike is written in bulk, all others are applied one by one.

The history gets those that it does not have yet. A decision beyond the recorded offset of its input
partition is new; one before it (a rewind, a replay) is looked up among the decisions of its key.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from izin.consent import WAITING, Status
from izin.kafka.tables.brand_directory import customer_of
from izin.ledger import brands, offsets
from izin.ledger.automatic_suspension import counting
from izin.ledger.automatic_suspension.counting import SourcedEvent, Watched
from izin.ledger.automatic_suspension.decisions import put_back
from izin.ledger.bulk.saving import BulkChanges, RowChange
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.history import Fact, decided, history_codec, source_of
from izin.ledger.privacy import erasure
from izin.ledger.record import RESCUE, Brand, ConsentRow, QuarantinedRecord, RuledRow, TopicMessages
from izin.ledger.registry.ownership import OtherCustomerOptIn, received
from izin.ledger.unit_of_work import UnitOfWork, append_messages, lock, lock_in_pieces
from izin.runtime.process import with_pauses
from izin.schemas.erasure import ERASED
from izin.sinks.ingest.decision_reader import DecisionApplier, DecisionReader, IncomingDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWatch:
    """The decisions of one batch on brands whose sources are watched, and the rows as they were
    before. Its opt-outs, and opt-ins over opt-outs, are counted by their source.

    Where no brand of a batch is watched, this costs one statement a transaction.
    """

    reader: DecisionReader
    watched: Watched
    decisions: Mapping[str, Sequence[IncomingDecision]]
    """By key, in their order."""
    before: Mapping[str, ConsentRow]

    @classmethod
    def begin(
        cls,
        reader: DecisionReader,
        watched: Watched,
        decisions: Sequence[IncomingDecision],
        rows: Mapping[str, ConsentRow],
    ) -> SourceWatch:
        """Watch ``decisions`` on the brands of ``watched``, before they change ``rows``."""
        by_key = defaultdict[str, list[IncomingDecision]](list)
        if codes := {*watched.opted_in, *watched.reversals}:
            for decision in decisions:
                if decision.brand_code in codes:
                    by_key[decision.key].append(decision)
        before = {key: rows[key] for key in by_key if key in rows}
        return cls(reader=reader, watched=watched, decisions=by_key, before=before)

    async def end(
        self, connection: Connection, rows: Mapping[str, ConsentRow], now: datetime
    ) -> list[str]:
        """Count what the decisions made of ``rows``, once all are written, and hold back what the
        limits say; return which of the opt-outs that are held back another one may stand behind. A
        key that is in no row was made in bulk.
        """
        if not self.decisions:
            return []
        watched = {key: rows[key] for key in self.decisions if key in rows}
        if reversals := list(self._of_rows(watched, Status.ONAY)):
            await counting.hold_back(connection, reversals, Status.ONAY, now=now)
        in_bulk = [found[0] for key, found in self.decisions.items() if key not in rows]
        opt_ins = Counter(decision.brand_code for decision in in_bulk if not decision.is_ret)
        opt_ins.update(counting.opt_in_changes(self.before, watched))
        await counting.add_opt_ins(connection, opt_ins)
        opted_in = self.watched.opted_in
        opt_outs = list(self._of_rows(watched, Status.RET))
        opt_outs += [
            self._sourced(one) for one in in_bulk if one.is_ret and one.brand_code in opted_in
        ]
        if not opt_outs:
            return []
        # The first opt-out of a brand since its customer set the limits: all it has is written.
        if uncounted := {
            opt_out.brand_code for opt_out in opt_outs if opted_in[opt_out.brand_code] is None
        }:
            await counting.count_opt_ins(connection, uncounted)
        return await counting.hold_back(connection, opt_outs, Status.RET, now=now)

    def _of_rows(self, rows: Mapping[str, ConsentRow], status: Status) -> Iterator[SourcedEvent]:
        """Yield the opt-outs of ours, or the opt-ins over opt-outs, that ``rows`` desire since this
        batch.
        """
        is_ret = status is Status.RET
        codes = self.watched.opted_in if is_ret else self.watched.reversals
        for key, row in rows.items():
            before, found = self.before.get(key), self.decisions[key]
            was_ret = before is not None and before.desired_status == Status.RET
            over_ret = was_ret or any(decision.is_ret for decision in found[:-1])
            is_counted = _is_counted if is_ret else _is_reversal
            if row.brand_code not in codes or not is_counted(before, row):
                continue
            if is_ret or over_ret:
                events = (
                    self._sourced(one, over_ret) for one in reversed(found) if one.is_ret is is_ret
                )
                yield from islice(
                    (event for event in events if event.event_id == row.desired_event_id), 1
                )

    def _sourced(self, decision: IncomingDecision, over_ret: bool = False) -> SourcedEvent:
        return SourcedEvent(
            decision.brand_code, decision.key, *self.reader.origin_of(decision), over_ret
        )


def _is_reversal(before: ConsentRow | None, after: ConsentRow) -> bool:
    """Whether a row desires an opt-in of ours that it did not before, and that is not certainly a
    new consent.
    """
    is_known = before is not None and before.is_of(after.desired_event_id, after.desired_status)
    return (
        after.desired_status == Status.ONAY and after.is_ours and not (after.attested or is_known)
    )


def _is_counted(before: ConsentRow | None, after: ConsentRow) -> bool:
    """Whether a row desires an opt-out of ours that it did not before, and that changes what was
    desired or is due to İYS. One that rescues another is our own.
    """
    if after.desired_status != Status.RET or not after.is_ours or after.desired_origin == RESCUE:
        return False
    if before is None:
        return True
    if before.is_of(after.desired_event_id, after.desired_status):
        return False
    return before.desired_status != Status.RET or after.state in WAITING


_SQL = statements("history")

BATCH = 8000
"""The most decisions in a transaction; with fewer available, it does not wait for more."""
FEW = 1000
"""What is stored at once before anything is known of how long that takes."""
_LASTS = 1.0
"""The seconds that a transaction may last, estimated from the previous one: its keys are locked as
long, and an opt-out that is stored ahead waits.
"""


def most_after(most: int, stored: int, seconds: float) -> int:
    """Return the most decisions of the next batch, after one of at most ``most``: of that one,
    ``stored`` took ``seconds``. A few that were stored quickly say nothing of many.
    """
    if stored < FEW and seconds <= _LASTS:
        return most
    return min(max(FEW, int(stored * _LASTS / seconds)), BATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is stored at once."""

    topic: str
    topic_id: str
    decisions: Sequence[IncomingDecision]
    moves: Mapping[int, tuple[int, int]]
    """The old and the new offset of each partition; empty: they stay."""
    quarantined: Sequence[QuarantinedRecord]


class BatchStorage:
    """Stores batches, one at a time, for the one process that ingests."""

    def __init__(
        self, ledger: Ledger, topic_messages: TopicMessages, reader: DecisionReader
    ) -> None:
        self.ledger = ledger
        self.topic_messages = topic_messages
        self.reader = reader
        self.applier = DecisionApplier(reader)

    async def store(self, batch: Batch, now: datetime) -> _Storing:
        """Store ``batch``, all or nothing; return what was done.

        Raises:
            ConcurrentChangeError: another process has written the offsets, or one of the rows.
        """
        async with self.ledger.transaction() as connection:
            changes = UnitOfWork(connection, self.topic_messages, self.ledger.calendar, now)
            work = _Storing(self, batch, changes)
            await work.advance_offsets()
            await work.find_brands()
            await work.record_decisions()
            await work.save_alike()
            await work.apply_others()
            await changes.write()
            await work.hold_back()
            await work.acknowledge_erasures()
            await work.append_last()
        return work


class _Storing:
    """One batch on its way into the ledger."""

    def __init__(self, parts: BatchStorage, batch: Batch, changes: UnitOfWork) -> None:
        self.others: Sequence[IncomingDecision] = ()
        """The decisions that are applied one by one."""
        self.of_others: list[OtherCustomerOptIn] = []
        """The opt-ins of other customers."""
        self._parts = parts
        self._batch = batch
        self._changes = changes
        self._erasures = _erased_keys(parts.reader, batch.decisions, changes.now)
        self._decisions = [decision for decision in batch.decisions if not decision.is_erasure]
        self._brands: Mapping[int, Brand] = {}
        self._rows: dict[str, ConsentRow] = {}

    async def advance_offsets(self) -> None:
        """Move the offsets: whoever reads beside this process fails here, before any other work."""
        batch = self._batch
        if batch.moves:
            await offsets.advance(
                self._changes.connection, batch.topic, batch.topic_id, batch.moves
            )

    async def find_brands(self) -> None:
        """Read the brands, note those that nobody has registered, and whose sources are watched."""
        codes = {decision.brand_code for decision in self._decisions}
        self._brands = await brands.known_of_codes(
            self._changes.connection, codes, now=self._changes.now
        )
        self._watched = await counting.watched(self._changes.connection, self._brands)

    async def record_decisions(self) -> None:
        """Record in the history what it lacks."""
        self._changes.add_history(
            await missing_facts(
                self._changes.connection, self._decisions, self._parts.reader, self._brands
            )
        )

    async def save_alike(self) -> None:
        """Lock the rows, and write in bulk those that change alike: a simple decision
        (``decision_reader``) that is the only one on its key, and names its brand's customer, is
        applied to its row from its bytes; what follows is ruled once for all rows alike.

        Raises:
            ConcurrentChangeError: another process has inserted one of the new keys.
        """
        bulk = BulkChanges[IncomingDecision](self._changes, self._rule)
        by_key = defaultdict[str, list[IncomingDecision]](list)
        for decision in self._decisions:
            by_key[decision.key].append(decision)
        rest: list[IncomingDecision] = []

        async def add(keys: Sequence[str], rows: Mapping[str, ConsentRow]) -> None:
            async for key in with_pauses(keys):
                found, before = by_key[key], rows.get(key)
                if len(found) == 1 and self._is_usual(found[0], before):
                    bulk.add(RowChange(before, self._termed(before, found[0]), found[0]))
                else:
                    rest.extend(found)

        rows = await lock_in_pieces(self._changes.connection, by_key, add)
        rest += await bulk.save()
        self.others = rest
        self._rows = {one.key: rows[one.key] for one in rest if one.key in rows}

    def _is_usual(self, decision: IncomingDecision, before: ConsentRow | None) -> bool:
        """Whether a decision may be applied in bulk: it is simple, on a key of its customer, and
        neither counted nor on what a suspension, or a person, holds back.
        """
        brand, watched = self._brands.get(decision.brand_code), self._watched
        if decision.fields is None or brand is None or decision.customer_id != brand.customer_id:
            return False
        if before is None:
            return True
        is_reversal = before.desired_status == Status.RET and not decision.is_ret
        is_counted = decision.brand_code in watched.opted_in or (
            is_reversal and decision.brand_code in watched.reversals
        )
        is_kept_back = before.brake_id is not None or before.withdrawn_at is not None
        return before.customer_id == brand.customer_id and not (is_counted or is_kept_back)

    def _termed(self, before: ConsentRow | None, decision: IncomingDecision) -> ConsentRow:
        after = self._parts.applier.apply(before, decision, self._changes.now)
        return self._changes.termed(after, self._brands[decision.brand_code])

    def _rule(self, change: RowChange[IncomingDecision]) -> RuledRow:
        return self._changes.ruled(change.after, self._brands[change.member.brand_code])

    async def apply_others(self) -> None:
        """Apply all other decisions one by one; the last of a key is ruled."""
        reader, rows, now = self._parts.reader, self._rows, self._changes.now
        self._watch = SourceWatch.begin(reader, self._watched, self._decisions, rows)
        last = {one.key: one for one in self.others}
        async for decision in with_pauses(self.others):
            before = rows.get(decision.key)
            after = self._parts.applier.apply(before, decision, now)
            brand = self._brands.get(after.brand_code)
            after = received(before, after, brand, self.of_others.append)
            if last[decision.key] is decision:
                rows[decision.key] = self._changes.rule(before, after, brand)
            else:
                rows[decision.key] = self._changes.put(before, after)

    async def hold_back(self) -> None:
        """Hold back what the limits say, and desire again the opt-outs that stand behind it."""
        behind = await self._watch.end(self._changes.connection, self._rows, self._changes.now)
        behind += [row.key for row in self._rows.values() if _is_kept_back(row)]
        if behind:
            again = UnitOfWork(
                self._changes.connection,
                self._parts.topic_messages,
                self._changes.calendar,
                self._changes.now,
            )
            await put_back(
                again, (await lock(self._changes.connection, behind)).values(), self._brands
            )
            await again.write()

    async def acknowledge_erasures(self) -> None:
        """Tell the ledger that all before an erasure was stored."""
        if self._erasures:
            await erasure.acknowledge(
                self._changes.connection, self._erasures, now=self._changes.now
            )

    async def append_last(self) -> None:
        """Publish what could not be read, and the offsets behind everything else: whoever reads
        them finds what is before them.
        """
        batch, messages, now = self._batch, self._parts.topic_messages, self._changes.now
        last = [messages.quarantined(record, now) for record in batch.quarantined]
        if batch.moves:
            last.append(
                await offsets.announcement(self._changes.connection, messages, batch.topic, now)
            )
        if last:
            await append_messages(self._changes.connection, last, now)


def _erased_keys(
    reader: DecisionReader, decisions: Sequence[IncomingDecision], now: datetime
) -> list[erasure.ErasedKey]:
    """Return the keys that some of ``decisions`` erase; where a later event of a key was decided,
    in this batch or before, it is known again.
    """
    places = [place for place, one in enumerate(decisions) if one.is_erasure]
    if not places:
        return []
    last = {one.key: place for place, one in enumerate(decisions)}
    found = []
    for place in places:
        key, decision = decisions[place].key, reader.decode(decisions[place].value)
        event, is_gone = decision["event"], decision["reason"] == ERASED
        found.append(
            erasure.ErasedKey(
                key,
                event["customer_id"],
                event["event_id"],
                event["consent_date"] or now,
                is_last=is_gone and last[key] == place,
            )
        )
    return found


def _is_kept_back(row: ConsentRow) -> bool:
    """Whether a row desires an opt-out that is held back, or that a person has withdrawn."""
    return (
        row.brake_id is not None or row.withdrawn_at is not None
    ) and row.desired_status == Status.RET


async def recorded_offsets(ledger: Ledger, topic: str) -> Mapping[int, int]:
    """Return how far the decisions on the events of ``topic`` were recorded, by partition."""
    return {
        row["partition"]: row["next_offset"]
        for row in await ledger.fetch(_SQL["recorded"], {"topics": [topic]})
    }


async def missing_facts(
    connection: Connection,
    decisions: Sequence[IncomingDecision],
    reader: DecisionReader,
    known: Mapping[int, Brand],
) -> list[Fact]:
    """Return the facts of those ``decisions`` that the history lacks, and record their offsets.

    A fact is of its brand's customer, where the brand is among the ``known`` ones.
    """
    found = await fetch(
        connection, _SQL["recorded"], {"topics": sorted({decision.topic for decision in decisions})}
    )
    nexts = {(row["topic"], row["partition"]): row["next_offset"] for row in found}
    new: list[IncomingDecision] = []
    repeated: list[IncomingDecision] = []
    for one in decisions:
        partition = one.topic, one.partition
        if one.offset >= nexts.get(partition, 0):
            nexts[partition] = one.offset + 1
            new.append(one)
        else:
            repeated.append(one)
    if repeated:
        new += await _unrecorded(connection, repeated, new, reader)
    values = {
        "topics": [topic for topic, _ in nexts],
        "partitions": [partition for _, partition in nexts],
        "nexts": list(nexts.values()),
    }
    await connection.execute(_SQL["save-recorded"], values)
    owners = {code: brand.customer_id for code, brand in known.items()}
    return [
        decided(
            customer_of(owners, one.brand_code),
            one.key,
            one.effective,
            reader.history_bytes(one.value),
        )
        for one in new
    ]


async def _unrecorded(
    connection: Connection,
    repeated: Sequence[IncomingDecision],
    new: Sequence[IncomingDecision],
    reader: DecisionReader,
) -> list[IncomingDecision]:
    found = await fetch(
        connection, _SQL["decisions-of"], {"keys": sorted({decision.key for decision in repeated})}
    )
    known = {
        row["source"]
        if row["decision"] is None
        else source_of(history_codec().decode("Decision", row["decision"]))
        for row in found
    }
    known |= {source_of(reader.decode(one.value)) for one in new}
    unrecorded = []
    for one in repeated:
        source = source_of(reader.decode(one.value))
        if source not in known:
            known.add(source)
            unrecorded.append(one)
    return unrecorded
