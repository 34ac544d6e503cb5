"""Run a process that posts webhooks: several share the subscribers, and nothing else runs in it.

SIGTERM ends it within a few seconds: requests under way may end, and the subscribers are given back
for others to take at once. After a kill -9 whatever was not acknowledged is posted again, under the
same id.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial

import uvloop
from starlette.applications import Starlette

from izin.kafka.partition_client import Place
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.http_server.operations import health, operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings, LedgerSettings, WebhookSettings
from izin.runtime.task_cancellation import cancel_all, stopping_on_signals
from izin.schemas.codec import Codec
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.processes import live
from izin.sinks.ledger.webhooks import deliveries, registry
from izin.sinks.monitor.figures import CONNECTIONS, LedgerWatch
from izin.sinks.outbound.loops import keep_running, until_stopped
from izin.sinks.webhooks.assigner import DeliveryAssigner

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
        assigner = DeliveryAssigner(ledger=ledger, kafka=kafka, settings=settings, codec=codec)
        broker, watch = BrokerWatch(kafka), LedgerWatch(monitored)

        def faults() -> Mapping[str, str]:
            return {**watch.faults(), **broker.faults()}

        async def http() -> None:
            registry_ = assigner.metrics.registry
            listeners.listen()
            await listeners.serve(
                Starlette(routes=[*health(faults, with_reasons=False)]),
                operations_app(registry_, faults),
                registry_,
                proxies="127.0.0.1",
                drain=_HTTP_DRAIN,
                stopping=stopping,
            )

        beside = {"broker watch": broker.run, "ledger watch": watch.run, "http": http}
        await _deliver(assigner, beside, stopping)


async def _deliver(
    assigner: DeliveryAssigner,
    beside: Mapping[str, Callable[[], Coroutine[None, None, None]]],
    stopping: asyncio.Event,
) -> None:
    """Deliver, and do what is to be done ``beside`` it."""
    alive, ledger = asyncio.Event(), assigner.ledger
    # Before it is seen alive, so that nobody takes it for a sink worker.
    await deliveries.enter(ledger)
    wanted = await _first_places(ledger)
    # Before the topics are read: what cannot be read is its brand's.
    await assigner.reader.refresh()

    async def assign() -> None:
        await alive.wait()  # else others would take over at once whatever it begins
        await keep_running("assign", assigner.run)

    works: dict[str, Coroutine[None, None, None]] = {
        "live": keep_running("live", lambda: live(ledger, alive)),
        "acknowledgements": assigner.writer.run(),
        **{name: work() for name, work in beside.items()},
        **{
            f"follow {name}": keep_running(f"follow {name}", partial(feed.run, wanted))
            for name, feed in assigner.feeds.items()
        },
    }
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    assigning = asyncio.create_task(assign(), name="assign")
    _log.info("webhooks ready", host=assigner.settings.host, process=os.getpid())
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
            first = min(one.open_offsets, default=one.next_offset)
            found[one.place] = min(first, found.get(one.place, first))
    return found
