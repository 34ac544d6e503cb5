"""Resends: what would be sent again, counted, and the order to do it."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import deliveries, registry
from izin.sinks.ledger.webhooks.subscriber import DeliveryCursor
from izin.sinks.webhooks.events import EventReader, WebhookEvent
from izin.sinks.webhooks.partitions import Place
from izin.sinks.webhooks.resend import cursors_since, events_of

_PAGE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendOrder:
    """What is to be sent again."""

    name: str
    since: datetime | None
    """None: from the subscriber's first day on."""
    only_missing: bool


async def count(
    ledger: Ledger, kafka: KafkaSettings, codec: Codec, order: ResendOrder
) -> Counter[str]:
    """Return how many events of each type ``order`` would send again.

    Raises:
        UnknownSubscriberError: there is none of its name.
    """
    found = await registry.of_name(ledger, order.name)
    cursors = await _cursors(kafka, order, found.created_at)
    reader = EventReader(codec, kafka.topics)
    reader.customers = await registry.brand_customers(ledger)
    counts, page = Counter[str](), list[WebhookEvent]()
    async for event in events_of(kafka, reader, cursors):
        if event.is_for(found.filter) and (event.is_change or not order.only_missing):
            page.append(event)
        if len(page) >= _PAGE:
            counts += await _counted(ledger, found.id, page, order)
            page.clear()
    return counts + await _counted(ledger, found.id, page, order)


async def _counted(
    ledger: Ledger, number: int, events: Sequence[WebhookEvent], order: ResendOrder
) -> Counter[str]:
    if order.only_missing:
        offsets = defaultdict[Place, list[int]](list)
        for one in events:
            offsets[one.place].append(one.offset)
        known = {
            (place, offset)
            for place, some in offsets.items()
            for offset in await deliveries.acknowledged(ledger, number, *place, some)
        }
        events = [one for one in events if (one.place, one.offset) not in known]
    return Counter(one.type for one in events)


async def begin(
    ledger: Ledger, kafka: KafkaSettings, order: ResendOrder, *, by: str, now: datetime
) -> int:
    """Order a resend, which the process that delivers carries out; return its number.

    Raises:
        UnknownSubscriberError: there is no subscriber of its name.
        RunningResendError: an earlier one is not done.
    """
    found = await registry.of_name(ledger, order.name)
    cursors = await _cursors(kafka, order, found.created_at)
    return await registry.begin_resend(
        ledger,
        order.name,
        cursors,
        only_missing=order.only_missing,
        since=order.since,
        by=by,
        now=now,
    )


async def _cursors(
    kafka: KafkaSettings, order: ResendOrder, created_at: datetime
) -> list[DeliveryCursor]:
    return await asyncio.to_thread(cursors_since, kafka, order.since or created_at)
