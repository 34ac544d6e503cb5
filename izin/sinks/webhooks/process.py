"""Run a process that posts webhooks: several share the subscribers, and nothing else runs in it.

SIGTERM ends it within a few seconds: requests under way may end, and the subscribers are given back
for others to take at once. After a kill -9 whatever was not acknowledged is posted again, under the
same id.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import uvloop
from starlette.applications import Starlette

from izin.kafka.partition_client import Place
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.http_server.problems import health, operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.observe import get_logger
from izin.runtime.process import cancel_all, stopping_on_signals
from izin.runtime.settings import KafkaSettings, LedgerSettings, WebhookSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.processes import live
from izin.sinks.ledger.webhooks import assignments, registry
from izin.sinks.monitor.figures import CONNECTIONS, LedgerWatch
from izin.sinks.outbound.loops import keep_running, until_stopped
from izin.sinks.webhooks.acknowledger import AcknowledgementWriter
from izin.sinks.webhooks.assigner import DeliveryAssigner
from izin.sinks.webhooks.events import EventReader, lanes
from izin.sinks.webhooks.live_feed import LiveFeed
from izin.sinks.webhooks.metrics import WebhookMetrics

_DRAIN = 4.0
_HTTP_DRAIN = 2

_log = get_logger(__name__)


def run(
    kafka: KafkaSettings, ledger: LedgerSettings, webhooks: WebhookSettings, codec: Codec
) -> None:
    """Post webhooks until SIGTERM or SIGINT; raises errors that are faults of ours."""

    async def serve_until_stopped() -> None:
        await serve(kafka, ledger, webhooks, codec, stopping=stopping_on_signals())

    uvloop.run(serve_until_stopped())


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookParts:
    """What the loops of one process share."""

    kafka: KafkaSettings
    settings: WebhookSettings
    ledger: Ledger
    feeds: dict[str, LiveFeed]
    assigner: DeliveryAssigner
    broker: BrokerWatch
    watch: LedgerWatch
    listeners: HttpListeners


async def serve(
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    settings: WebhookSettings,
    codec: Codec,
    *,
    stopping: asyncio.Event,
) -> None:
    """Post webhooks until ``stopping`` is set."""
    owner = secrets.randbelow(2**31 - 1) + 1
    async with AsyncExitStack() as stack:
        listeners = HttpListeners(settings, server="the webhooks process", variables="IZIN_WEBHOOK")
        stack.enter_context(contextlib.closing(listeners))
        ledger = await stack.enter_async_context(Ledger(ledger_settings, owner=owner))
        small = ledger_settings.model_copy(update={"pool_size": CONNECTIONS})
        monitored = await stack.enter_async_context(Ledger(small, owner=owner))
        reader = EventReader(codec, kafka.topics, partial(registry.brand_customers, ledger))
        feeds = {
            name: LiveFeed(kafka, topics, reader, most_bytes=settings.memory)
            for name, topics in lanes(kafka.topics).items()
        }
        parts = WebhookParts(
            kafka=kafka,
            settings=settings,
            ledger=ledger,
            feeds=feeds,
            assigner=DeliveryAssigner(
                ledger=ledger,
                kafka=kafka,
                settings=settings,
                reader=reader,
                feeds=feeds,
                writer=AcknowledgementWriter(ledger, ledger.clock.now),
                metrics=WebhookMetrics(),
                tls=settings.tls_context(),
                clock=ledger.clock.now,
            ),
            broker=BrokerWatch(kafka),
            watch=LedgerWatch(monitored),
            listeners=listeners,
        )
        await _run(parts, stopping)


async def _run(parts: WebhookParts, stopping: asyncio.Event) -> None:
    alive, assigner = asyncio.Event(), parts.assigner
    # Before it is seen alive, so that nobody takes it for a sink worker.
    await assignments.enter(parts.ledger)
    wanted = await _first_places(parts.ledger)
    # Before the topics are read: what cannot be read is its brand's.
    await assigner.reader.refresh()

    async def assign() -> None:
        await alive.wait()  # else others would take over at once whatever it begins
        await keep_running("assign", assigner.run)

    works: dict[str, Coroutine[None, None, None]] = {
        "live": keep_running("live", lambda: live(parts.ledger, alive)),
        "broker watch": parts.broker.run(),
        "ledger watch": parts.watch.run(),
        "acknowledgements": assigner.writer.run(),
        "http": _serve_http(parts, stopping),
        **{
            f"follow {name}": keep_running(f"follow {name}", partial(feed.run, wanted))
            for name, feed in parts.feeds.items()
        },
    }
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    assigning = asyncio.create_task(assign(), name="assign")
    _log.info("webhooks ready", host=parts.settings.host, process=os.getpid())
    try:
        await until_stopped(stopping, [*tasks, assigning], what="webhooks failed")
    finally:
        stopping.set()
        await cancel_all([assigning])
        await assigner.close(_DRAIN)
        await cancel_all(tasks)


async def _first_places(ledger: Ledger) -> dict[Place, int]:
    """Return the first offset of each partition that a subscriber has not acknowledged."""
    ids = [one.id for one in await registry.every(ledger) if one.paused_at is None]
    found: dict[Place, int] = {}
    for one in await registry.cursors_of(ledger, ids):
        if one.end_offset is None:  # of a lane that is followed
            place = one.topic, one.partition
            first = min(one.open_offsets, default=one.next_offset)
            found[place] = min(first, found.get(place, first))
    return found


async def _serve_http(parts: WebhookParts, stopping: asyncio.Event) -> None:
    registry_ = parts.assigner.metrics.registry

    def faults() -> Mapping[str, str]:
        return {**parts.watch.faults(), **parts.broker.faults()}

    parts.listeners.listen()
    await parts.listeners.serve(
        Starlette(routes=[*health(faults, with_reasons=False)]),
        operations_app(registry_, faults),
        registry_,
        proxies="127.0.0.1",
        drain=_HTTP_DRAIN,
        stopping=stopping,
    )
