"""A subscriber with what it still lacks, its latest failures, and its latest resend."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from izin.console.subscribers import views
from izin.runtime.settings import KafkaSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.webhooks import registry, resends
from izin.sinks.ledger.webhooks.resends import ResendProgress
from izin.sinks.ledger.webhooks.subscriber import WebhookSubscriber
from izin.sinks.webhooks.partitions import bounds

_ATTEMPTS = 10


async def look(
    ledger: Ledger, kafka: KafkaSettings, name: str
) -> tuple[
    WebhookSubscriber,
    Sequence[views.LaneBacklog],
    Sequence[Mapping[str, Any]],
    ResendProgress | None,
]:
    """Return the subscriber of ``name``, its backlog by lane, its latest failed attempts, and its
    latest resend.

    Raises:
        UnknownSubscriberError: there is none.
        BrokerError: Kafka does not say where its topics end.
    """
    found = await registry.of_name(ledger, name)
    cursors = await registry.cursors_of(ledger, [found.id])
    places = {(one.topic, one.partition) for one in cursors if one.end_offset is None}
    kept = await asyncio.to_thread(bounds, kafka, places)
    ends = {place: end for place, (_, end) in kept.items()}
    attempts = await registry.latest_attempts(ledger, found.id, most=_ATTEMPTS)
    resent = await resends.latest(ledger, found.id)
    return found, views.backlog(cursors, ends), attempts, resent
