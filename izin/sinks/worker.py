"""Run a sink worker: all flows between the topics, the ledger and İYS, in one process.

Several may run at once: leases, skipped locks and compare-and-set keep them apart, and what only
one may do (ingest, relay, pull) one does while the others wait. SIGTERM ends it within five
seconds: running calls to İYS may complete, and another process recovers those that do not.
"""

import asyncio
import contextlib
import os
import secrets
from contextlib import AsyncExitStack

import uvloop

from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.observe import get_logger
from izin.runtime.process import (
    drain,
    keep_memory_of_batches,
    stopping_on_signals,
    tune_gc_for_batches,
)
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.sinks import server
from izin.sinks.background import Parts, background
from izin.sinks.inbound.push import BrandCache, PushReceiver
from izin.sinks.inbound.push_credentials import AcceptedCredentials, push_credentials
from izin.sinks.ledger import submissions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.processes import live
from izin.sinks.monitor.figures import CONNECTIONS, LedgerWatch
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.outbound.context import OutboundContext, lease_owner
from izin.sinks.outbound.iys_session import iys_session
from izin.sinks.outbound.loops import keep_running, outbound_loops, until_stopped
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.messages import TopicMessages

_DRAIN = 4.0

_log = get_logger(__name__)


def run(
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    sink: SinkSettings,
    codec: Codec,
) -> None:
    """Run a sink worker until SIGTERM or SIGINT; raises errors that are faults of ours."""

    async def serve_until_stopped() -> None:
        await serve(kafka, ledger_settings, iys, sink, codec, stopping=stopping_on_signals())

    tune_gc_for_batches()
    keep_memory_of_batches()
    uvloop.run(serve_until_stopped())


async def serve(  # noqa: PLR0913 - the groups of settings, and when to stop
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    sink: SinkSettings,
    codec: Codec,
    *,
    stopping: asyncio.Event,
) -> None:
    """Run a sink worker until ``stopping`` is set."""
    credentials = push_credentials(sink)
    metrics = Metrics()
    owner = secrets.randbelow(2**31 - 1) + 1
    async with AsyncExitStack() as stack:
        listeners = stack.enter_context(contextlib.closing(server.listeners(sink)))
        ledger = await stack.enter_async_context(Ledger(ledger_settings, owner=owner))
        monitored = await stack.enter_async_context(
            Ledger(ledger_settings.model_copy(update={"pool_size": CONNECTIONS}), owner=owner)
        )
        client, pacer = await stack.enter_async_context(
            iys_session(ledger, iys, counted=metrics.called)
        )
        context = OutboundContext(
            ledger=ledger,
            client=client,
            topic_messages=TopicMessages(codec, kafka.topics),
            clock=ledger.clock.now,
            pacer=pacer,
            lease_owner=lease_owner(ledger.owner, iys, sink),
            result_delay=iys.result_delay,
            unforeseen=metrics.unforeseen,
        )
        parts = Parts(
            kafka=kafka,
            iys=iys,
            sink=sink,
            codec=codec,
            context=context,
            publisher=await stack.enter_async_context(Publisher(kafka)),
            brands=BrandCache(ledger),
            credentials=credentials,
            metrics=metrics,
            broker=BrokerWatch(kafka),
            monitored=monitored,
            ledger_watch=LedgerWatch(monitored),
            listeners=listeners,
        )
        await _run(parts, stopping)


def _server(parts: Parts) -> server.SinkServer:
    receiver = PushReceiver(
        credentials=AcceptedCredentials(
            parts.credentials, parts.context.ledger, clock=parts.context.clock
        ),
        brands=parts.brands,
        publisher=parts.publisher,
        topic_messages=parts.context.topic_messages,
        clock=parts.context.clock,
        count=parts.metrics.pushed.inc,
        count_refused=parts.metrics.push_unauthorized,
    )
    return server.SinkServer(
        listeners=parts.listeners,
        receiver=receiver,
        registry=parts.metrics.registry,
        faults=lambda: {**parts.ledger_watch.faults(), **parts.broker.faults()},
        failing=parts.failing.faults,
        proxies=parts.sink.proxies,
    )


async def _run(parts: Parts, stopping: asyncio.Event) -> None:
    """Run every loop and the HTTP server until ``stopping`` is set, then drain and release."""
    ledger, alive = parts.context.ledger, asyncio.Event()
    living = keep_running("live", lambda: live(ledger, alive))
    beside = [asyncio.create_task(living, name="live")]
    begun = asyncio.create_task(_begin(parts, alive), name="begin")
    await until_stopped(stopping, [begun, *beside], what="sink worker failed")
    beside += [
        asyncio.create_task(keep_running(name, work, parts.failing), name=name)
        for name, work in background(parts).items()
    ]
    outbound = [
        asyncio.create_task(loop, name=name)
        for name, loop in outbound_loops(
            parts.context, parts.sink, parts.notifications, stopping, parts.failing
        )
    ]
    http = asyncio.create_task(_server(parts).run(stopping), name="http")
    _log.info("sink worker ready", host=parts.sink.host, port=parts.sink.port, process=os.getpid())
    try:
        await until_stopped(stopping, [*beside, *outbound, http], what="sink worker failed")
    finally:
        stopping.set()
        await drain([*outbound, http], [begun, *beside], within=_DRAIN)
        with contextlib.suppress(LedgerUnavailableError):
            await parts.context.pacer.flush()
            async with ledger.transaction() as connection:
                await submissions.release(connection, owner=ledger.owner, now=parts.context.clock())


async def _begin(parts: Parts, alive: asyncio.Event) -> None:
    """Return when this process may begin work.

    Until others see that it is alive, they would take over whatever it begins. And until it watches
    others, it waits for no lock: a frozen one may have that of the address, until it is fenced.
    """
    await alive.wait()
    await keep_running("rate limits", parts.context.pacer.begin)
