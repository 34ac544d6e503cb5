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
from izin.sinks.ingest.observations import ObservedMovement, observe
from izin.sinks.ledger import submissions
from izin.sinks.ledger.db import Connection
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.brand import Brand
from izin.sinks.record.iys_movements import event_of, key_of, observation_of
from izin.sinks.record.messages import Message, TopicMessages

_log = get_logger(__name__)


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
        await self.publisher.publish(
            [
                messages.event(event, key, at)
                for place, (event, key) in enumerate(keyed)
                if place not in ours
            ]
            + [messages.unkeyed(event, at) for event, key in read if key is None]
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
        calendar = self.context.ledger.calendar
        changes = UnitOfWork(connection, self.context.topic_messages, calendar, now)
        await observe(changes, brand, seen)
        await changes.write()

    def _observed(
        self, event: ConsentEvent, key: ConsentKey, stream: Stream, at: datetime, *, is_ours: bool
    ) -> ObservedMovement:
        """Return an event at İYS that was published ``at`` an instant, with its record in the
        history.
        """
        movement = Movement(
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
