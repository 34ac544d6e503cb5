"""What a sink worker runs beside the outbound loops, by name."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from izin.consent.forecast import records_per_second
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import IysSettings, KafkaSettings, SinkSettings
from izin.schemas.codec import Codec
from izin.sinks.inbound.daily.loop import DailyFiles, trusted_roots
from izin.sinks.inbound.pull import Puller
from izin.sinks.inbound.push import BrandCache, Credentials
from izin.sinks.inbound.push_connections import PushConnections, PushRegistrar
from izin.sinks.inbound.sweep import Sweeper
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ingest.isolation import Isolation
from izin.sinks.ingest.receipts import ReceiptIngester
from izin.sinks.ingest.sequence_tracker import SequenceTracker
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.ledger.push_registrations import PushRegistrations
from izin.sinks.monitor.accounts import GrantedBrandsReader, RegisterCounter, SubscriptionMonitor
from izin.sinks.monitor.alerts import DeadlineMonitor
from izin.sinks.monitor.anchors import AnchorWitnesses, AnchorWriter
from izin.sinks.monitor.metrics import IysWatch, LedgerFigures, LedgerWatch, Metrics
from izin.sinks.monitor.retention import Eraser, RetentionEnforcer
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.loops import FailingLoops
from izin.sinks.outbound.request_budget import RequestBudget
from izin.sinks.publish.outbox_relay import OutboxRelay
from izin.sinks.publish.publisher import Publisher

_DEADLINE_INTERVAL = timedelta(minutes=1)
_FIGURES_INTERVAL = timedelta(seconds=5)
_RETENTION_INTERVAL = timedelta(hours=1)
_POLL_WAIT = timedelta(milliseconds=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
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
    monitored: Ledger
    """Connections for metrics and health alone."""
    ledger_watch: LedgerWatch
    listeners: HttpListeners
    notifications: Notifications = field(default_factory=Notifications)
    failing: FailingLoops = field(default_factory=FailingLoops)


def background(parts: Parts) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what runs beside the outbound loops, by name."""
    kafka, sink, context = parts.kafka, parts.sink, parts.context
    ledger, topic_messages, clock = context.ledger, context.topic_messages, context.clock
    budget = _sweep_budget(parts)
    puller, sweeper = _puller(parts), _sweeper(parts, budget)
    work: dict[str, Callable[[], Awaitable[None]]] = {
        "listen": lambda: parts.notifications.listen(ledger),
        "broker watch": parts.broker.run,
        "ledger watch": parts.ledger_watch.run,
        "iys watch": IysWatch(context.client, parts.monitored, parts.metrics).run,
        "figures": _figures(parts).run,
        **_readers(parts),
        "outbox": OutboxRelay(
            ledger=ledger,
            settings=kafka,
            notifications=parts.notifications,
            clock=clock,
            wait=sink.poll_interval,
        ).run,
        "anchors": AnchorWriter(
            ledger=ledger,
            topic_messages=topic_messages,
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
        "subscriptions": SubscriptionMonitor(context=context).run,
        "deadlines": DeadlineMonitor(ledger=ledger, clock=clock, interval=_DEADLINE_INTERVAL).run,
        "register counts": RegisterCounter(context=context).run,
        "pull": lambda: puller.run(sink.poll_interval),
        **_daily_files(parts),
        "sweep": lambda: sweeper.run(sink.poll_interval),
        **_ends(parts),
        **_granted_brands(parts, budget),
    }
    if sink.push_url is not None and parts.credentials is not None:
        work["push registration"] = _registrar(parts, sink.push_url, parts.credentials).run
    return work


def _readers(parts: Parts) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what reads topics into the ledger, by name."""
    kafka, codec, context = parts.kafka, parts.codec, parts.context
    ledger, topic_messages, clock = context.ledger, context.topic_messages, context.clock
    return {
        "ingest": Ingester(
            ledger=ledger,
            topic_messages=topic_messages,
            codec=codec,
            settings=kafka,
            clock=clock,
            wait=_POLL_WAIT,
            isolation=Isolation(
                DeadLetterBudget(share=kafka.dead_letter_share), parts.metrics.registry
            ),
        ).run,
        "receipts": ReceiptIngester(
            ledger=ledger,
            topic_messages=topic_messages,
            codec=codec,
            settings=kafka,
            clock=clock,
            wait=_POLL_WAIT,
        ).run,
        **{
            f"sequences of {lane}": SequenceTracker(
                ledger=ledger, codec=codec, settings=kafka, topic=name, clock=clock, wait=_POLL_WAIT
            ).run
            for lane, name in (
                ("bulk", kafka.topics.events.name),
                ("express", kafka.topics.express.name),
            )
        },
    }


def _ends(parts: Parts) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what ends the time of rows, by name."""
    ledger, clock = parts.context.ledger, parts.context.clock
    return {
        "retention": RetentionEnforcer(
            ledger=ledger, clock=clock, interval=_RETENTION_INTERVAL
        ).run,
        "erasures": Eraser(
            ledger=ledger,
            topic_messages=parts.context.topic_messages,
            clock=clock,
            interval=parts.sink.poll_interval,
        ).run,
    }


def _puller(parts: Parts) -> Puller:
    return Puller(
        context=parts.context,
        publisher=parts.publisher,
        interval=parts.sink.pull_interval,
        hidden=parts.iys.hidden_window,
        requests_per_second=parts.sink.pull_requests_per_second,
    )


def _registrar(parts: Parts, url: str, credentials: Credentials) -> PushRegistrar:
    context = parts.context
    return PushRegistrar(
        context=context,
        brands=parts.brands,
        connections=PushConnections(
            client=context.client,
            registrations=PushRegistrations(ledger=context.ledger, url=url),
            credentials=credentials,
            clock=context.clock,
        ),
        only=parts.sink.push_brands,
    )


def _daily_files(parts: Parts) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what fetches İYS's daily files, by name; nothing where the settings say so."""
    sink = parts.sink
    if not sink.daily_files:
        return {}
    daily = DailyFiles(
        context=parts.context,
        publisher=parts.publisher,
        available_from=sink.daily_from,
        empty_date=sink.daily_empty_date,
        agree_brands=frozenset(sink.daily_agree_brands),
        roots=trusted_roots(sink.timestamp_roots),
    )
    return {"daily files": lambda: daily.run(sink.poll_interval)}


def _sweep_budget(parts: Parts) -> RequestBudget:
    rate = parts.sink.sweep_share * parts.iys.requests_per_second
    return RequestBudget(rate, clock=time.monotonic)


def _sweeper(parts: Parts, budget: RequestBudget) -> Sweeper:
    return Sweeper(context=parts.context, budget=budget, every=parts.sink.sweep_every)


def _granted_brands(
    parts: Parts, budget: RequestBudget
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what reads the list of a business partner, by name; nothing for a provider."""
    code = parts.iys.integrator_code
    if code is None:
        return {}
    reader = GrantedBrandsReader(context=parts.context, integrator_code=code, budget=budget)
    return {"granted brands": reader.run}


def _figures(parts: Parts) -> LedgerFigures:
    rate = records_per_second(parts.iys.requests_per_second, batch_size=parts.sink.batch_size)
    return LedgerFigures(
        ledger=parts.monitored,
        metrics=parts.metrics,
        topics=parts.kafka.topics,
        clock=parts.context.clock,
        records_per_second=rate,
        interval=_FIGURES_INTERVAL,
    )
