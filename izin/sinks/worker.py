"""Run a sink worker: all flows between the topics, the ledger and İYS, in one process.

Several may run at once: leases, skipped locks and compare-and-set keep them apart, and what only
one may do (ingest, relay, pull) one does while the others wait. SIGTERM ends it within five
seconds: running calls to İYS may complete, and another process recovers those that do not.

Serve the HTTP endpoints of a sink worker: İYS's pushes and a bare health for everybody, health
with reasons and metrics for operators.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from izin.consent.forecast import records_per_second
from izin.kafka.broker_watch import BrokerWatch
from izin.ledger import retention, submissions
from izin.ledger.db import Ledger, Notifications, live, repeat
from izin.ledger.privacy import erasure
from izin.ledger.record import LedgerUnavailableError, StreamUnavailableError, TopicMessages
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.http_server.problems import Faults, health, operations_app
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.http_server.shedding import HttpLimits
from izin.runtime.logs import get_logger
from izin.runtime.process import (
    drain,
    keep_memory_of_batches,
)
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.daily.loop import DailyFiles, trusted_roots
from izin.sinks.inbound.movements import Puller
from izin.sinks.inbound.push import (
    AcceptedCredentials,
    BrandCache,
    Credentials,
    PushReceiver,
    PushRegistrations,
    push_credentials,
)
from izin.sinks.inbound.push_connections import PushConnections, PushRegistrar
from izin.sinks.inbound.sweep import Sweeper
from izin.sinks.ingest.ingested_topics import ReceiptReader, TrackedLane
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ingest.isolation import Isolation
from izin.sinks.monitor.accounts import GrantedBrandsReader, RegisterCounter, refresh_subscriptions
from izin.sinks.monitor.alerts import DeadlineMonitor
from izin.sinks.monitor.anchors import AnchorWitnesses, AnchorWriter
from izin.sinks.monitor.metrics import (
    IysWatch,
    LedgerFigures,
    LedgerWatch,
    Metrics,
    monitored_ledger,
)
from izin.sinks.outbound.context import OutboundContext, RequestBudget, iys_session, lease_owner
from izin.sinks.outbound.loops import FailingLoops, keep_running, outbound_loops, until_stopped
from izin.sinks.publish.publisher import OutboxRelay, Publisher

_DRAIN = 4.0

_DRAIN_HTTP = 2
_LIMITS = HttpLimits(requests=256)
"""A push may be eight times as large as a post to the intake."""
_DEADLINE_INTERVAL = timedelta(minutes=1)
_FIGURES_INTERVAL = timedelta(seconds=5)
_RETENTION_INTERVAL = timedelta(hours=1)
_SURVEY_INTERVAL = timedelta(minutes=10)
_LOOK_INTERVAL = timedelta(minutes=1)
_POLL_WAIT = timedelta(milliseconds=500)
_CATCH_UP_INTERVAL = timedelta(seconds=1)
_SELDOM = 5
"""After so many intervals is looked for what people order and nobody waits for by the second."""

_log = get_logger(__name__)

Loop = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the loops and the HTTP server of one process share."""

    kafka: KafkaSettings
    iys: IysSettings
    sink: SinkSettings
    codec: Codec
    context: OutboundContext
    ingester: Ingester
    publisher: Publisher
    brands: BrandCache
    credentials: Credentials | None
    metrics: Metrics
    broker: BrokerWatch
    monitored: Ledger
    """Connections for metrics and health alone."""
    ledger_watch: LedgerWatch
    listeners: HttpListeners
    notifications: Notifications = field(default_factory=Notifications)
    failing: FailingLoops = field(default_factory=FailingLoops)


def background(parts: Parts) -> dict[str, Loop]:
    """Return what runs beside the outbound loops, by name."""
    sink, context, metrics = parts.sink, parts.context, parts.metrics
    ledger, clock = context.ledger, context.clock
    rate = records_per_second(parts.iys.requests_per_second, batch_size=sink.batch_size)
    return {
        "listen": partial(parts.notifications.listen, ledger),
        "broker watch": parts.broker.run,
        "ledger watch": parts.ledger_watch.run,
        "iys watch": IysWatch(context.client, parts.monitored, metrics).run,
        "figures": LedgerFigures(
            ledger=parts.monitored,
            metrics=metrics,
            topics=parts.kafka.topics,
            clock=clock,
            records_per_second=rate,
            interval=_FIGURES_INTERVAL,
        ).run,
        **_readers(parts),
        "outbox": OutboxRelay(
            ledger=ledger,
            settings=parts.kafka,
            notifications=parts.notifications,
            clock=clock,
            wait=sink.poll_interval,
            ready=parts.ingester.catch_up.ready,
        ).run,
        "anchors": AnchorWriter(
            ledger=ledger,
            topic_messages=context.topic_messages,
            file=sink.anchor_file,
            clock=clock,
            interval=sink.anchor_interval,
            witnesses=AnchorWitnesses(
                endpoint=sink.anchor_url,
                token=None if sink.anchor_token is None else sink.anchor_token.get_secret_value(),
                authority=sink.anchor_timestamp_url,
                timestamp_every=sink.anchor_timestamp_every,
            ),
        ).run,
        "deadlines": DeadlineMonitor(ledger=ledger, clock=clock, interval=_DEADLINE_INTERVAL).run,
        "retention": partial(
            repeat,
            ledger,
            "retention",
            _RETENTION_INTERVAL,
            lambda owned: retention.delete_expired(owned, now=clock()),
        ),
        "erasures": partial(
            repeat,
            ledger,
            "erasures",
            _SELDOM * sink.poll_interval,
            lambda owned: erasure.erase(owned, context.topic_messages, now=clock()),
        ),
        **_inbound(parts),
    }


def _readers(parts: Parts) -> dict[str, Loop]:
    """Return what reads topics into the ledger, by name."""
    ingester, context, topics = parts.ingester, parts.context, parts.kafka.topics
    receipts, lanes = topics.gate_receipts.name, {"bulk": topics.events, "express": topics.express}
    return {
        "ingest": ingester.run,
        "catch up": _repeated(
            context,
            "catch up",
            _CATCH_UP_INTERVAL,
            lambda owned: replace(ingester, ledger=owned.ledger).catch_up.step(),
        ),
        "receipts": partial(ReceiptReader.run, ingester, receipts, work="receipts"),
        **{
            f"sequences of {lane}": partial(
                TrackedLane.run, ingester, topic.name, work=f"follow {topic.name}"
            )
            for lane, topic in lanes.items()
        },
    }


def _inbound(parts: Parts) -> dict[str, Loop]:
    """Return what brings in what İYS has, by name."""
    sink, iys, context, every = parts.sink, parts.iys, parts.context, parts.sink.poll_interval
    budget = RequestBudget(sink.sweep_share * iys.requests_per_second, clock=time.monotonic)
    puller = Puller(
        context=context,
        publisher=parts.publisher,
        interval=sink.pull_interval,
        hidden=iys.hidden_window,
        requests_per_second=sink.pull_requests_per_second,
    )
    owner, counter = context.lease_owner, RegisterCounter(context=context)
    work: dict[str, Loop] = {
        "subscriptions": _repeated(
            context, owner.exclusive("survey"), _SURVEY_INTERVAL, refresh_subscriptions
        ),
        "register counts": _repeated(
            context,
            owner.exclusive("count"),
            _SURVEY_INTERVAL,
            lambda owned: replace(counter, context=owned).count(),
        ),
        "pull": partial(puller.run, every),
        "sweep": partial(
            Sweeper(context=context, budget=budget, every=sink.sweep_every).run, _SELDOM * every
        ),
    }
    if sink.daily_files:
        daily = DailyFiles(
            context=context,
            publisher=parts.publisher,
            available_from=sink.daily_from,
            empty_date=sink.daily_empty_date,
            agree_brands=frozenset(sink.daily_agree_brands),
            roots=trusted_roots(sink.timestamp_roots),
        )
        work["daily files"] = _repeated(
            context,
            owner.exclusive("daily"),
            max(every, _LOOK_INTERVAL),
            lambda owned: replace(daily, context=owned).look(),
        )
    if iys.integrator_code is not None:
        reader = GrantedBrandsReader(
            context=context, integrator_code=iys.integrator_code, budget=budget
        )
        # The list is the account's, whichever address its brands are served from.
        work["granted brands"] = _repeated(
            context,
            f"granted brands {owner.account}",
            _LOOK_INTERVAL,
            lambda owned: replace(reader, context=owned).look(),
        )
    if sink.push_url is not None and parts.credentials is not None:
        work["push registration"] = _registrar(parts, sink.push_url, parts.credentials).run
    return work


def _registrar(parts: Parts, url: str, credentials: Credentials) -> PushRegistrar:
    context = parts.context
    connections = PushConnections(
        client=context.client,
        registrations=PushRegistrations(ledger=context.ledger, url=url),
        credentials=credentials,
        clock=context.clock,
    )
    return PushRegistrar(
        context=context, brands=parts.brands, connections=connections, only=parts.sink.push_brands
    )


def _repeated(
    context: OutboundContext,
    name: str,
    every: timedelta,
    step: Callable[[OutboundContext], Awaitable[object]],
) -> Loop:
    """Return a loop that takes a ``step`` as the owner of the lease ``name``."""
    return partial(
        repeat,
        context.ledger,
        name,
        every,
        lambda ledger: step(replace(context, ledger=ledger)),
    )


async def serve_pushes(  # noqa: PLR0913  # on what, who answers, and how it is
    listeners: HttpListeners,
    receiver: PushReceiver,
    registry: CollectorRegistry,
    *,
    faults: Faults,
    failing: Faults,
    proxies: str,
    stopping: asyncio.Event,
) -> None:
    """Serve İYS's pushes, health and metrics until ``stopping`` is set; raises PortError.

    With ``faults`` a push could not be taken: that is for load balancers too. ``failing`` are loops
    that fail, of which operators alone learn: pushes are taken without them.
    """
    routes = [
        Route("/iys/push", receiver.receive, methods=["POST"]),
        *health(faults, with_reasons=False),
    ]
    listeners.listen()
    await listeners.serve(
        Starlette(routes=routes),
        operations_app(registry, lambda: {**faults(), **failing()}),
        registry,
        proxies=proxies,
        drain=_DRAIN_HTTP,
        stopping=stopping,
        limits=_LIMITS,
    )


def run(
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    sink: SinkSettings,
    codec: Codec,
) -> None:
    """Run a sink worker until SIGTERM or SIGINT; raises errors that are faults of ours."""
    keep_memory_of_batches()
    serve_until_stopped(
        sink,
        partial(serve, kafka, ledger_settings, iys, sink, codec),
        server="the sink",
        variables="IZIN_SINK",
    )


async def serve(  # noqa: PLR0913, PLR0917 - the groups of settings, where, and when to stop
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    sink: SinkSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Run a sink worker until ``stopping`` is set."""
    credentials = push_credentials(sink)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        ledger, monitored = await stack.enter_async_context(monitored_ledger(ledger_settings))
        client, pacer = await stack.enter_async_context(
            iys_session(ledger, iys, counted=lambda *labels: metrics.calls.labels(*labels).inc())
        )
        context = OutboundContext(
            ledger=ledger,
            client=client,
            topic_messages=TopicMessages(codec, kafka.topics),
            clock=ledger.clock.now,
            pacer=pacer,
            lease_owner=lease_owner(ledger.owner, iys, sink),
            result_delay=iys.result_delay,
            unforeseen=lambda code: metrics.unforeseen.labels(code).inc(),
        )
        parts = Parts(
            kafka=kafka,
            iys=iys,
            sink=sink,
            codec=codec,
            context=context,
            ingester=Ingester(
                ledger=ledger,
                topic_messages=context.topic_messages,
                codec=codec,
                settings=kafka,
                clock=context.clock,
                wait=_POLL_WAIT,
                isolation=Isolation(
                    DeadLetterBudget(share=kafka.dead_letter_share), metrics.registry
                ),
            ),
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


async def _serve(parts: Parts, stopping: asyncio.Event) -> None:
    context = parts.context
    receiver = PushReceiver(
        credentials=AcceptedCredentials(parts.credentials, context.ledger, clock=context.clock),
        brands=parts.brands,
        publisher=parts.publisher,
        topic_messages=context.topic_messages,
        clock=context.clock,
        count=parts.metrics.pushed.inc,
        count_refused=lambda reason: parts.metrics.push_unauthorized.labels(reason).inc(),
    )
    await serve_pushes(
        parts.listeners,
        receiver,
        parts.metrics.registry,
        faults=lambda: {**parts.ledger_watch.faults(), **parts.broker.faults()},
        failing=parts.failing.faults,
        proxies=parts.sink.proxies,
        stopping=stopping,
    )


async def _run(parts: Parts, stopping: asyncio.Event) -> None:
    """Run every loop and the HTTP server until ``stopping`` is set, then drain and release."""
    ledger, alive = parts.context.ledger, asyncio.Event()
    beside = [asyncio.create_task(keep_running("live", lambda: live(ledger, alive)), name="live")]
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
    http = asyncio.create_task(_serve(parts, stopping), name="http")
    _log.info(
        "sink worker ready",
        host=parts.sink.host,
        port=parts.sink.port,
        process=os.getpid(),
        session=int(ledger.owner),
    )
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

    async def catch_up() -> None:
        with contextlib.suppress(StreamUnavailableError):  # relay and ingest look again, first
            await parts.ingester.catch_up.begin()

    await keep_running("catch up", catch_up)
    await keep_running("rate limits", parts.context.pacer.begin)
