"""Movements that İYS reports, in a page of a pull or in a daily file; and the pull.

They are published and acknowledged first, so that a crash repeats them and loses none. One that
cannot be read becomes a dead letter, with an alert, for it may be an opt-out; the others are not
held up. Then they are recorded, in the transaction in which it is noted how far they were read.
An HS movement that results from a submission of ours only verifies it; one of another writer (İYS's
portal, another integrator) is published too.

Both of İYS's streams are pulled page by page: IYS has what citizens did, HS what providers wrote.

A page is published and acknowledged before the cursor advances, so that a crash repeats it and
loses none of it. The cursor advances in the transaction of the rows of its page, in which it is
published how fresh our knowledge of the brand is: for the channels that we have a right to, for
İYS leaves the others out of its pages.

Streams take turns, the one that was not read for longest first, at a share of İYS's requests. A
stream that has more pages has every second turn, so that neither it nor the others wait for long.

İYS shows seven days. After a longer gap the movements before it cannot be pulled: the status of
every key of the brand is queried instead, by a sweep (reference 2.7), and until it has ended
nothing is published that would let the gate say yes.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import cycle
from typing import NamedTuple

from izin.consent import ConsentEvent, ConsentKey, Observation
from izin.iys.errors import CallError, RefusedError
from izin.iys.wire_format import IysMovement, Stream, UnreadableItem
from izin.ledger import stream_progress, submissions
from izin.ledger.bulk.saving import BulkChanges, RowChange
from izin.ledger.db import Connection, exclusive, fetch_one, statements
from izin.ledger.history import HistoryEntry
from izin.ledger.offsets import until_released
from izin.ledger.record import (
    Brand,
    ConcurrentChangeError,
    ConsentRow,
    IllegalChangeError,
    LedgerFaultError,
    Message,
    RuledRow,
    TopicMessages,
    apply,
    event_of,
    first_row,
    key_of,
    observation_of,
)
from izin.ledger.registry import granted
from izin.ledger.sweep import sweeps
from izin.ledger.unit_of_work import UnitOfWork, append_messages, lock_in_pieces
from izin.runtime.logs import get_logger
from izin.runtime.process import with_pauses
from izin.sinks.outbound.context import OutboundContext, ask_for_rights
from izin.sinks.publish.publisher import Publisher


class ObservedMovement(NamedTuple):
    """A movement at İYS, read."""

    key: ConsentKey
    observation: Observation | None
    """What it shows; None: it permits nothing, and is only recorded."""
    movement: HistoryEntry
    """Its record in the history."""
    is_ours: bool
    """Whether a submission of ours made it. It brings no key back that was erased since."""


async def observe(changes: UnitOfWork, brand: Brand, observed: Sequence[ObservedMovement]) -> None:
    """Save what movements of a ``brand`` show; the history and what is not alike through
    ``changes``, which the caller writes in the same transaction.
    """
    work = _Observing(changes, brand)
    for movement in observed:
        work.by_key[str(movement.key)].append(movement)
    await work.save()


class _Observing:
    """The work of one page."""

    def __init__(self, changes: UnitOfWork, brand: Brand) -> None:
        self.by_key = defaultdict[str, list[ObservedMovement]](list)
        self._changes = changes
        self._brand = brand
        self._rest: list[ObservedMovement] = []
        """What is applied one by one."""
        self._bulk = BulkChanges[ObservedMovement](changes, lambda one: self._rule(one.after))

    async def save(self) -> None:
        rows = await lock_in_pieces(self._changes.connection, self.by_key, self._add_all)
        self._rest += await self._bulk.save()
        async for movement in with_pauses(self._rest):
            key = str(movement.key)
            before = rows.get(key)
            entry = before or first_row(movement.key, self._brand.customer_id, self._changes.now)
            rows[key] = self._changes.apply(before, self._rule(_observed(entry, movement)))

    async def _add_all(self, keys: Sequence[str], rows: Mapping[str, ConsentRow]) -> None:
        async for key in with_pauses(keys):
            self._add(self.by_key[key], rows.get(key))

    def _add(self, movements: Sequence[ObservedMovement], before: ConsentRow | None) -> None:
        """Record the movements of a key, and add what they make of its row."""
        is_known, shown = before is not None, list[ObservedMovement]()
        for movement in movements:
            if movement.is_ours and not is_known:
                continue
            self._changes.add_entry(movement.movement)
            if movement.observation is not None:
                is_known = True
                shown.append(movement)
        if before is None or len(shown) > 1:
            self._rest += shown
        elif shown:
            after = self._changes.termed(_observed(before, shown[0]), self._brand)
            self._bulk.add(RowChange(before, after, shown[0]))

    def _rule(self, after: ConsentRow) -> RuledRow:
        return self._changes.ruled(after, self._brand, observing=True)


def _observed(row: ConsentRow, movement: ObservedMovement) -> ConsentRow:
    seen = movement.observation
    return row if seen is None else apply.observed(row, seen)


_log = get_logger(__name__)
_RETRY = timedelta(seconds=10)
"""How long at most after a failure that passes by itself a stream is read again."""
_SQL = statements("stream_progress")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedMovements:
    """Publishes and records the movements that İYS reports on one path."""

    context: OutboundContext
    publisher: Publisher
    path: str
    """The path by which they come: pull or daily."""

    async def publish(
        self,
        brand: Brand,
        stream: Stream,
        movements: Sequence[IysMovement],
        unreadable: Sequence[UnreadableItem] = (),
    ) -> list[ObservedMovement]:
        """Publish the movements of a brand that are not ours; return what those show that have a
        key.

        Raises:
            StreamUnavailableError: the broker did not acknowledge them; publish them again.
        """
        at, messages = self.context.clock(), self.context.topic_messages
        dead_letters = unreadable_messages(
            unreadable, f"iys/{self.path}/{stream}/{brand.brand_code}", messages, at
        )
        events = [
            event_of(movement, brand, stream, path=self.path, at=at) for movement in movements
        ]
        read = [(event, key_of(event)) for event in events]
        keyed = [(event, key) for event, key in read if key is not None]
        if len(keyed) < len(read):
            # Published all the same: the order stage dead-letters them with an alert.
            _log.error("movements with unreadable keys found", count=len(read) - len(keyed))
        ours: frozenset[int] = frozenset()
        if stream is Stream.HS:
            written = [(str(key), event.status, event.consent_date) for event, key in keyed]
            async with self.context.ledger.transaction() as connection:
                ours = await submissions.submitted_by_us(connection, written)
        await self.publisher.publish(
            [
                messages.event(event, key, at)
                for place, (event, key) in enumerate(keyed)
                if place not in ours
            ]
            + [messages.event(event, key, at) for event, key in read if key is None]
            + dead_letters
        )
        return [
            self._observed(event, key, stream, at, is_ours=place in ours)
            for place, (event, key) in enumerate(keyed)
        ]

    async def record(
        self,
        connection: Connection,
        brand: Brand,
        seen: Sequence[ObservedMovement],
        *,
        now: datetime,
    ) -> None:
        """Record what was published: the observations in the history, and the rows that they rule.

        Raises:
            ConcurrentChangeError: another process changed one of the rows.
        """
        changes = UnitOfWork(
            connection, self.context.topic_messages, self.context.ledger.calendar, now
        )
        await observe(changes, brand, seen)
        await changes.write()

    def _observed(
        self, event: ConsentEvent, key: ConsentKey, stream: Stream, at: datetime, *, is_ours: bool
    ) -> ObservedMovement:
        """Return an event at İYS that was published ``at`` an instant, with its record in the
        history.
        """
        movement = HistoryEntry(
            kind="observation",
            customer_id=event.customer_id,
            key=str(key),
            event_id=event.event_id,
            status=event.status,
            source=f"{self.path}/{stream}/{event.event_id}",
            occurred_at=at,
            data={
                "by": self.path,
                "stream": str(stream),
                "creation_date": None if event.iys is None else event.iys.creation_date,
                "consent_date": event.consent_date,
                "source": event.source,
                "transaction_id": event.origin_ref,
                "ours": is_ours,
            },
            may_repeat=True,
        )
        return ObservedMovement(key, observation_of(event, key), movement, is_ours)


def unreadable_messages(
    items: Sequence[UnreadableItem], source: str, topic_messages: TopicMessages, at: datetime
) -> list[Message]:
    """Return the dead letters of ``items``; log that there are any, in one line and without their
    content: it is personal data, and a flood of them must not be one of lines too.
    """
    if items:
        _log.critical(
            "movement unreadable",
            source=source,
            error=items[0].error,
            count=len(items),
            remedy="it may be an opt-out: izin dead-letters has it as İYS wrote it",
        )
    return [topic_messages.unreadable(item, source, at) for item in items]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cursor:
    """How far a stream of a brand has been pulled."""

    brand: Brand
    stream: Stream
    after: str | None
    last_pulled_at: datetime | None
    restarts: int
    failure: str | None
    """What its last call failed for; None: it did not."""

    @property
    def where(self) -> dict[str, object]:
        """The stream, as parameters of SQL statements and fields of the log."""
        return {"brand_code": self.brand.brand_code, "stream": str(self.stream)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Puller:
    """Pulls the streams of every brand."""

    context: OutboundContext
    publisher: Publisher
    interval: timedelta
    """How long after it was read to its end a stream is read again, if not later."""
    hidden: timedelta
    """How recent movements are that İYS does not show yet."""
    requests_per_second: float
    """How many of İYS's requests the streams of all brands may take together."""

    @property
    def _movements(self) -> ReportedMovements:
        return ReportedMovements(context=self.context, publisher=self.publisher, path="pull")

    async def run(self, poll_interval: timedelta) -> None:
        """Pull until cancelled, in one process of an account and address at a time."""
        context, now = self.context, asyncio.get_running_loop().time
        idle = min(self.interval, poll_interval).total_seconds()
        async with exclusive(context.ledger, context.lease_owner.exclusive("pull")) as ledger:
            owner = replace(self, context=replace(context, ledger=ledger))
            for behind_first in cycle((False, True)):
                # A ledger of an earlier moment takes our own consents of since for another's.
                await until_released(ledger)
                began = now()
                has_pulled = await owner.pull_next(behind_first=behind_first)
                rest = began + 1 / self.requests_per_second - now() if has_pulled else idle
                await asyncio.sleep(max(rest, 0))

    async def pull_next(self, *, behind_first: bool = False) -> bool:
        """Pull a page of the stream that was not read for longest; return whether one was due.

        With ``behind_first``, of one whose last page was not the last, where there is such a one.
        """
        values = {
            **self.context.lease_owner.who,
            "streams": [str(one) for one in Stream],
            "behind_first": behind_first,
        }
        rows = await self.context.ledger.fetch(_SQL["next"], values)
        for row in rows:
            stream, next_at = Stream(row.pop("stream")), row.pop("next_at")
            if next_at is None or next_at <= self.context.clock():
                await self._pull_turn(Brand.from_row(row), stream)
                return True
        return False

    async def _pull_turn(self, brand: Brand, stream: Stream) -> None:
        """Pull a page; one that the ledger refuses waits, so that the other streams have turns."""
        try:
            await self.pull_page(brand, stream)
        except (IllegalChangeError, LedgerFaultError) as error:
            _log.critical(
                "page refused",
                brand_code=brand.brand_code,
                stream=str(stream),
                error=str(error),
                remedy="the page is pulled again and again, and the others of the brand wait: "
                "report it as a fault of this release",
            )
            await self._postpone(brand, stream, self.interval, failure="page refused by the ledger")

    async def pull_page(self, brand: Brand, stream: Stream) -> bool:
        """Pull the next page of a brand's stream, due or not; return whether there may be more.

        Raises:
            ConcurrentChangeError: another process pulled the stream, or it was begun again.
            StreamUnavailableError: the broker did not acknowledge the movements.
        """
        where = {"brand_code": brand.brand_code, "stream": str(stream)}
        async with self.context.ledger.transaction() as connection:
            await connection.execute(_SQL["begin"], where)
            row = await fetch_one(connection, _SQL["read"], where)
        if row is None:
            return False
        cursor = _Cursor(brand=brand, stream=stream, **row)
        try:
            page = await self.context.client.changes(brand.path, stream, cursor.after)
        except CallError as error:
            # A cursor that İYS refuses, as it may one that is older than what it shows, is given up
            # for the start of the window: what was read before changes nothing.
            give_up = isinstance(error, RefusedError) and cursor.after is not None
            error.warn(_log, "pull failed", **cursor.where, from_start=give_up)
            await ask_for_rights(self.context, error)
            # Each failed call counts against our address.
            pause = error.pause(min(self.interval, _RETRY))
            await self._postpone(brand, stream, pause, failure=str(error), give_up=give_up)
            return False
        if page is None or not (page.movements or page.unreadable):
            await self._look_for_gap(cursor)
            await self._store(cursor, cursor.after, [], is_end=True)
            return False
        seen = await self._movements.publish(brand, stream, page.movements, page.unreadable)
        # A cursor that does not advance would return this page for ever.
        is_end = page.after == cursor.after
        if is_end:
            await self._look_for_gap(cursor)
        await self._store(cursor, page.after, seen, is_end=is_end)
        return not is_end

    async def _postpone(
        self,
        brand: Brand,
        stream: Stream,
        pause: timedelta,
        *,
        failure: str,
        give_up: bool = False,
    ) -> None:
        """Read a stream later; with ``give_up`` from the start of the window."""
        now = self.context.clock()
        await self.context.ledger.execute(
            _SQL["postpone"],
            {
                "brand_code": brand.brand_code,
                "stream": str(stream),
                "now": now,
                "next_at": now + pause,
                "failure": failure,
                "give_up": give_up,
            },
        )

    async def _look_for_gap(self, cursor: _Cursor) -> None:
        """Have the brand's consents queried where the stream was not read for longer than what İYS
        shows.
        """
        last, now = cursor.last_pulled_at, self.context.clock()
        if last is None or now - last <= stream_progress.WINDOW:
            return
        _log.critical("stream gap exceeded what iys shows", **cursor.where)
        await sweeps.start_after_gap(self.context.ledger, cursor.brand.brand_code, now=now)

    async def _store(
        self, cursor: _Cursor, after: str | None, seen: Sequence[ObservedMovement], *, is_end: bool
    ) -> None:
        now, brand = self.context.clock(), cursor.brand
        async with self.context.ledger.transaction() as connection:
            pulled_before = await stream_progress.oldest_pull(connection, brand.brand_code)
            values = {
                **cursor.where,
                "before": cursor.after,
                "restarts": cursor.restarts,
                "after": after,
                "now": now,
                "next_at": now + self.interval if is_end else now,
                "is_end": is_end,
            }
            if cursor.failure is not None:
                await stream_progress.wake(connection, failure=cursor.failure)
            if await fetch_one(connection, _SQL["advance"], values) is None:
                raise ConcurrentChangeError(
                    f"{cursor.stream} of {brand.brand_code} was pulled by another process, or "
                    "begun again"
                )
            await self._movements.record(connection, brand, seen, now=now)
            pulled = await stream_progress.oldest_pull(connection, brand.brand_code)
            if (
                pulled is not None
                and pulled != pulled_before
                and not await sweeps.is_after_gap(connection, brand.brand_code)
            ):
                fresh = stream_progress.freshness(
                    self.context.topic_messages,
                    brand,
                    await granted.readable(connection, brand.brand_code),
                    pulled,
                    hidden=self.hidden,
                    now=now,
                )
                await append_messages(connection, fresh, now)
