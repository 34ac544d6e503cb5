"""Run a sink worker: all flows between the topics, the ledger and İYS, in one process.

Several may run at once: leases, skipped locks and compare-and-set keep them apart, and what only
one may do (ingest, relay, pull) one does while the others wait. SIGTERM ends it within five
seconds: running calls to İYS may complete, and another process recovers those that do not.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import uvicorn
import uvloop

from izin.consent.errors import OurError
from izin.consent.forecast import records_per_second
from izin.iys.client import IysClient
from izin.iys.rate_limit.pace import Pace
from izin.iys.tokens.token_auth import TokenAuth
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.gc_tuning import tune_gc_for_batches
from izin.runtime.observe import get_logger
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.runtime.task_cancellation import drain
from izin.schemas.codec import Codec
from izin.sinks import server
from izin.sinks.inbound.pull import Puller
from izin.sinks.inbound.push import BrandCache, Credentials, PushReceiver, push_credentials
from izin.sinks.inbound.push_registration import PushRegistrar
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ingest.isolation import Isolation
from izin.sinks.ingest.sequence_tracker import SequenceTracker
from izin.sinks.ledger import submissions
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.monitor.alerts import DeadlineMonitor
from izin.sinks.monitor.anchors import AnchorWriter
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.monitor.provider_subscriptions import SubscriptionMonitor
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.loops import keep_running, outbound_loops
from izin.sinks.publish.outbox_relay import OutboxRelay
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages

_DRAIN = 4.0
_DEADLINE_INTERVAL = timedelta(minutes=1)
_POLL_WAIT = timedelta(milliseconds=500)

_log = get_logger(__name__)


class LeaseTooShortError(OurError):
    """A call to İYS could outlast its lease, and another process would send it again."""

    def __init__(self, lease: timedelta, timeout: timedelta) -> None:
        super().__init__(
            f"IZIN_LEASE ({lease.total_seconds():g} s) must be at least twice IYS_TIMEOUT "
            f"({timeout.total_seconds():g} s)"
        )


def run(
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    sink: SinkSettings,
    codec: Codec,
) -> None:
    """Run a sink worker until SIGTERM or SIGINT; raises errors that are faults of ours."""

    async def serve_until_stopped() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await serve(kafka, ledger_settings, iys, sink, codec, stopping=stopping)

    tune_gc_for_batches()
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
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(
            Ledger(ledger_settings, owner=secrets.randbelow(2**31 - 1) + 1)
        )
        pacer = LedgerPacer(
            ledger,
            Pace(rate=iys.requests_per_second),
            address=iys.egress_address,
            counted=metrics.called,
        )
        await pacer.begin()
        tokens = LedgerTokenStore(ledger=ledger, account=iys.username, address=iys.egress_address)
        auth = TokenAuth(iys, tokens)
        context = OutboundContext(
            ledger=ledger,
            client=await stack.enter_async_context(IysClient(iys, auth=auth, pacer=pacer)),
            topic_messages=TopicMessages(codec, kafka.topics),
            clock=now,
            pacer=pacer,
            lease_owner=_lease_owner(ledger.owner, iys, sink),
            unforeseen=metrics.unforeseen,
        )
        parts = _Parts(
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
        )
        await _run(parts, stopping)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the loops and the HTTP server of one process share."""

    kafka: KafkaSettings
    iys: IysSettings
    sink: SinkSettings
    codec: Codec
    context: OutboundContext
    publisher: Publisher
    brands: BrandCache
    credentials: Credentials | None
    metrics: Metrics
    broker: BrokerWatch
    notifications: Notifications = field(default_factory=Notifications)


def _http_server(parts: _Parts) -> uvicorn.Server:
    receiver = PushReceiver(
        credentials=parts.credentials,
        brands=parts.brands,
        publisher=parts.publisher,
        topic_messages=parts.context.topic_messages,
        clock=now,
        count=parts.metrics.pushed.inc,
    )
    rate = records_per_second(parts.iys.requests_per_second, batch_size=parts.sink.batch_size)
    ledger, topics = parts.context.ledger, parts.kafka.topics
    application = server.app(
        ledger, parts.metrics, receiver, topics, parts.broker, clock=now, records_per_second=rate
    )
    return server.server(parts.sink, application)


def _background(parts: _Parts, alive: asyncio.Event) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what runs beside the outbound loops, by name; it sets ``alive``."""
    kafka, sink, codec, context = parts.kafka, parts.sink, parts.codec, parts.context
    ledger, topic_messages = context.ledger, context.topic_messages
    puller = Puller(context=context, publisher=parts.publisher, interval=sink.pull_interval)
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "listen": lambda: parts.notifications.listen(ledger),
        "live": lambda: ledger.live(alive),
        "broker watch": parts.broker.run,
        "ingest": Ingester(
            ledger=ledger,
            topic_messages=topic_messages,
            codec=codec,
            settings=kafka,
            clock=now,
            wait=_POLL_WAIT,
            isolation=Isolation(
                DeadLetterBudget(share=kafka.dead_letter_share), parts.metrics.registry
            ),
        ).run,
        **{
            f"sequences of {lane}": SequenceTracker(
                ledger=ledger, codec=codec, settings=kafka, topic=name, clock=now, wait=_POLL_WAIT
            ).run
            for lane, name in (
                ("bulk", kafka.topics.events.name),
                ("express", kafka.topics.express.name),
            )
        },
        "outbox": OutboxRelay(
            ledger=ledger,
            settings=kafka,
            notifications=parts.notifications,
            clock=now,
            wait=sink.poll_interval,
        ).run,
        "anchors": AnchorWriter(
            ledger=ledger,
            topic_messages=topic_messages,
            file=sink.anchor_file,
            clock=now,
            interval=sink.anchor_interval,
        ).run,
        "subscriptions": SubscriptionMonitor(context=context).run,
        "deadlines": DeadlineMonitor(ledger=ledger, clock=now, interval=_DEADLINE_INTERVAL).run,
        "pull": lambda: puller.run(sink.poll_interval),
    }
    if sink.push_url is not None and parts.credentials is not None:
        work["push registration"] = PushRegistrar(
            context=context,
            brands=parts.brands,
            url=sink.push_url,
            credentials=parts.credentials,
            only=sink.push_brands,
        ).run
    return work


async def _run(parts: _Parts, stopping: asyncio.Event) -> None:
    """Run every loop and the HTTP server until ``stopping`` is set, then drain and release."""
    ledger, alive = parts.context.ledger, asyncio.Event()
    background = [
        asyncio.create_task(keep_running(name, work), name=name)
        for name, work in _background(parts, alive).items()
    ]
    # Submissions made before others see that this process is alive would be recovered by them.
    await _first(alive, stopping)
    outbound = [
        asyncio.create_task(loop, name=name)
        for name, loop in outbound_loops(
            parts.context, parts.iys, parts.sink, parts.notifications, stopping
        )
    ]
    http_server = _http_server(parts)
    http = asyncio.create_task(http_server.serve(), name="http")
    _log.info("sink worker ready", host=parts.sink.host, port=parts.sink.port, process=os.getpid())
    try:
        await _until(stopping, [*background, *outbound, http])
    finally:
        stopping.set()
        http_server.should_exit = True
        await drain([*outbound, http], background, within=_DRAIN)
        with contextlib.suppress(LedgerUnavailableError):
            await parts.context.pacer.flush()
            async with ledger.transaction() as connection:
                await submissions.release(connection, owner=ledger.owner, now=now())


async def _until(stopping: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return when ``stopping`` is set or a task has ended; raise the error of such a task."""
    stop = asyncio.create_task(stopping.wait(), name="stop")
    done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    for task in done - {stop}:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("sink worker failed", loop=task.get_name(), error=repr(error))
            raise error


async def _first(*events: asyncio.Event) -> None:
    """Return when one of ``events`` is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _lease_owner(owner: str, iys: IysSettings, sink: SinkSettings) -> LeaseOwner:
    if sink.lease < 2 * iys.timeout:
        raise LeaseTooShortError(sink.lease, iys.timeout)
    return LeaseOwner(
        owner=owner,
        lease=sink.lease,
        call_within=iys.timeout,
        account=iys.username,
        address=iys.egress_address,
    )


def now() -> datetime:
    """Return the current instant."""
    return datetime.now(UTC)
