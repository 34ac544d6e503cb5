"""Pull both of İYS's streams page by page: IYS has what citizens did, HS what providers wrote.

Movements are published and acknowledged before the cursor advances, so that a crash repeats a page
and loses none. One that cannot be read becomes a dead letter, with an alert, for it may be an
opt-out; the others of its page are not held up. The cursor advances in the transaction of the rows
of its page, in which it is published how fresh our knowledge of the brand is. An HS movement that
results from a submission of ours only verifies it; one of another writer (İYS's portal, another
integrator) is published too.

İYS shows seven days. After a longer gap the movements before it cannot be pulled: the status of
every key of the brand is queried instead, by a sweep (reference 2.7).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from izin.consent.model import ConsentEvent, ConsentKey
from izin.iys.errors import CallError
from izin.iys.wire_format.consents import MovementPage, Stream
from izin.runtime.observe import get_logger
from izin.sinks.inbound.unreadable_items import unreadable_messages
from izin.sinks.ledger import brands, stream_progress, submissions
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.sweep import sweeps
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages, lock
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record import apply, ruling
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.iys_movements import event_of, key_of, observation_of
from izin.sinks.record.state_change import first_row

_SQL = statements("stream_progress")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadMovement:
    """A movement, read."""

    event: ConsentEvent
    key: ConsentKey
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Puller:
    """Pulls the streams of every brand."""

    context: OutboundContext
    publisher: Publisher
    interval: timedelta
    hidden: timedelta
    """How recent movements are that İYS does not show yet."""

    async def run(self, poll_interval: timedelta) -> None:
        """Pull until cancelled, in one process of an account and address at a time."""
        rest = min(self.interval, max(poll_interval, self.interval / 10))
        context = self.context
        async with sole(context.ledger, context.lease_owner.sole("pull")) as ledger:
            owner = replace(self, context=replace(context, ledger=ledger))
            while True:
                await owner.pull()
                await asyncio.sleep(rest.total_seconds())

    async def pull(self) -> bool:
        """Pull every stream that is due; return whether there was any page."""
        came = False
        for brand in await brands.every(self.context.ledger):
            lease_owner = self.context.lease_owner
            if brand.status != "active" or not brand.is_served_by(
                lease_owner.account, lease_owner.address
            ):
                continue
            for stream in Stream:
                came |= await self.pull_stream(brand, stream)
        return came

    async def pull_stream(self, brand: Brand, stream: Stream, *, force: bool = False) -> bool:
        """Pull a brand's stream to its end, if that is due; return whether there was any page."""
        came = False
        while True:
            now = self.context.clock()
            where = {"brand_code": brand.brand_code, "stream": str(stream)}
            async with self.context.ledger.transaction() as connection:
                await connection.execute(_SQL["begin"], where)
                row = await (await connection.execute(_SQL["read"], where)).fetchone()
            if row is None:
                return came
            last_attempt_at = row["last_attempt_at"]
            if not (
                force or came or last_attempt_at is None or last_attempt_at + self.interval <= now
            ):
                return came
            try:
                page = await self.context.client.changes(brand.path, stream, row["after"])
            except CallError as error:
                _log.warning("pull failed", **where, error=str(error))
                if not error.is_transient:
                    # Wait for the interval: each failed call counts against our address.
                    await self._store(brand, stream, row["after"], row["after"], [])
                return came
            if page is None or not (page.movements or page.unreadable):
                last_pulled_at = row["last_pulled_at"]
                if last_pulled_at is not None and now - last_pulled_at > stream_progress.WINDOW:
                    _log.critical("stream gap exceeded what iys shows", **where)
                    await sweeps.start_after_gap(self.context.ledger, brand.brand_code, now=now)
                await self._store(brand, stream, row["after"], row["after"], [], is_end=True)
                return came
            seen = await self._publish(brand, stream, page)
            # A cursor that does not advance would return this page for ever.
            is_end = page.after == row["after"]
            await self._store(brand, stream, row["after"], page.after, seen, is_end=is_end)
            came = True
            if is_end:
                return came

    async def _publish(
        self, brand: Brand, stream: Stream, page: MovementPage
    ) -> list[_ReadMovement]:
        at, messages = self.context.clock(), self.context.topic_messages
        source = f"iys/pull/{stream}/{brand.brand_code}"
        unreadable = unreadable_messages(page.unreadable, source, messages, at)
        events = [event_of(one, brand, stream, path="pull", at=at) for one in page.movements]
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
        seen = [
            _ReadMovement(event=event, key=key, is_ours=place in ours)
            for place, (event, key) in enumerate(keyed)
        ]
        await self.publisher.publish(
            [messages.event(one.event, one.key, at) for one in seen if not one.is_ours]
            + [messages.unkeyed(event, at) for event, key in read if key is None]
            + unreadable
        )
        return seen

    async def _store(  # noqa: PLR0913 - a page and the cursors around it
        self,
        brand: Brand,
        stream: Stream,
        before: str | None,
        after: str | None,
        seen: Sequence[_ReadMovement],
        *,
        is_end: bool = False,
    ) -> None:
        now = self.context.clock()
        async with self.context.ledger.transaction() as connection:
            values = {
                "brand_code": brand.brand_code,
                "stream": str(stream),
                "before": before,
                "after": after,
                "now": now,
                "is_end": is_end,
            }
            pulled_before = await stream_progress.oldest_pull(connection, brand.brand_code)
            moved = await (await connection.execute(_SQL["advance"], values)).fetchone()
            if moved is None:
                raise ConcurrentChangeError(
                    f"another process pulled {stream} of {brand.brand_code}"
                )
            entries = await lock(connection, (str(one.key) for one in seen))
            changes = UnitOfWork(self.context.topic_messages, now=now)
            for one in seen:
                key = str(one.key)
                before_entry = entries.get(key)
                if one.is_ours and before_entry is None:
                    # The key was erased since: what it says is known, and brings nobody back.
                    continue
                statement = observation_of(one.event, one.key)
                changes.add_movement(_observation(one, stream, now))
                if statement is None:
                    continue
                entry = before_entry or first_row(one.key, brand.customer_id, now)
                observed = apply.observed(entry, statement)
                ruled = ruling.rule_row(
                    observed, brand, now, calendar=self.context.ledger.calendar, observing=True
                )
                entries[key] = changes.apply(before_entry, ruled)
            await changes.write(connection)
            pulled = await stream_progress.oldest_pull(connection, brand.brand_code)
            if pulled is not None and pulled != pulled_before:
                fresh = stream_progress.freshness(
                    self.context.topic_messages, brand, pulled, hidden=self.hidden, now=now
                )
                await append_messages(connection, fresh, now)


def _observation(one: _ReadMovement, stream: Stream, now: datetime) -> Movement:
    event = one.event
    return Movement(
        kind="observation",
        customer_id=event.customer_id,
        key=str(one.key),
        event_id=event.event_id,
        status=event.status,
        source=f"pull/{stream}/{event.event_id}",
        occurred_at=event.received_at or now,
        data={
            "by": "pull",
            "stream": str(stream),
            "creation_date": None if event.iys is None else event.iys.creation_date,
            "consent_date": event.consent_date,
            "source": event.source,
            "transaction_id": event.origin_ref,
            "ours": one.is_ours,
        },
        may_repeat=True,
    )
