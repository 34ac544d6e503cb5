"""Movements that İYS reports, in a page of a pull or in a daily file.

They are published and acknowledged first, so that a crash repeats them and loses none. One that
cannot be read becomes a dead letter, with an alert, for it may be an opt-out; the others are not
held up. Then they are recorded, in the transaction in which it is noted how far they were read.
An HS movement that results from a submission of ours only verifies it; one of another writer (İYS's
portal, another integrator) is published too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from izin.consent.model import ConsentEvent, ConsentKey
from izin.iys.wire_format.consents import IysMovement, Stream
from izin.iys.wire_format.json_reader import UnreadableItem
from izin.runtime.observe import get_logger
from izin.sinks.inbound.unreadable_items import unreadable_messages
from izin.sinks.ingest.known_keys.movements import ObservedMovement
from izin.sinks.ingest.known_keys.observations import observe
from izin.sinks.ledger import submissions
from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.brand import Brand
from izin.sinks.record.iys_movements import event_of, key_of, observation_of

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMovement:
    """A movement, read."""

    event: ConsentEvent
    key: ConsentKey
    stream: Stream
    is_ours: bool


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
    ) -> list[ReadMovement]:
        """Publish the movements of a brand that are not ours; return those that have a key.

        Raises:
            StreamUnavailableError: the broker did not acknowledge them; publish them again.
        """
        at, messages = self.context.clock(), self.context.topic_messages
        source = f"iys/{self.path}/{stream}/{brand.brand_code}"
        dead_letters = unreadable_messages(unreadable, source, messages, at)
        events = [event_of(one, brand, stream, path=self.path, at=at) for one in movements]
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
            ReadMovement(event=event, key=key, stream=stream, is_ours=place in ours)
            for place, (event, key) in enumerate(keyed)
        ]
        await self.publisher.publish(
            [messages.event(one.event, one.key, at) for one in seen if not one.is_ours]
            + [messages.unkeyed(event, at) for event, key in read if key is None]
            + dead_letters
        )
        return seen

    async def record(
        self, connection: Connection, brand: Brand, seen: Sequence[ReadMovement], *, now: datetime
    ) -> None:
        """Record what was published: the observations in the history, and the rows that they rule.

        Raises:
            ConcurrentChangeError: another process changed one of the rows.
        """
        changes = UnitOfWork(self.context.topic_messages, now=now)
        observed = [
            ObservedMovement(
                one.key,
                observation_of(one.event, one.key),
                self._observation(one, now),
                one.is_ours,
            )
            for one in seen
        ]
        calendar = self.context.ledger.calendar
        await observe(connection, changes, brand, observed, calendar=calendar)
        await changes.write(connection)

    def _observation(self, one: ReadMovement, now: datetime) -> Movement:
        event = one.event
        return Movement(
            kind="observation",
            customer_id=event.customer_id,
            key=str(one.key),
            event_id=event.event_id,
            status=event.status,
            source=f"{self.path}/{one.stream}/{event.event_id}",
            occurred_at=event.received_at or now,
            data={
                "by": self.path,
                "stream": str(one.stream),
                "creation_date": None if event.iys is None else event.iys.creation_date,
                "consent_date": event.consent_date,
                "source": event.source,
                "transaction_id": event.origin_ref,
                "ours": one.is_ours,
            },
            may_repeat=True,
        )
