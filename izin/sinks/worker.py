"""The sink worker: everything that stands between the topics, the ledger and İYS, in one process.

Several may run at once: leases, skipped locks and compare-and-set keep them apart, and what only
one may do (ingest, deliver, pull) is done by one while the others wait. SIGTERM stops within five
seconds: what is on its way to İYS may end; what does not is taken up by the next process.
"""

import asyncio
import contextlib
import os
import secrets
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import uvloop

from izin.consent.errors import OurError
from izin.consent.forecast import records_per_second
from izin.iys.client import IysClient
from izin.iys.rate_limit.pace import Pace
from izin.iys.tokens.token_auth import TokenAuth
from izin.runtime.gc_tuning import tune_gc_for_batches
from izin.runtime.observe import get_logger
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.runtime.task_cancellation import cancel_all
from izin.schemas.codec import Codec
from izin.sinks import server
from izin.sinks.inbound.pull import Puller
from izin.sinks.inbound.push import BrandDirectory, Credentials, PushReceiver, PushRegistrar
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.ingest.sequence_tracker import SequenceTracker
from izin.sinks.ledger import submissions
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.monitor.anchors import AnchorWriter
from izin.sinks.monitor.deadlines import DeadlineMonitor
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.monitor.subscriptions import SubscriptionMonitor
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.loops import keep_running, outbound_loops
from izin.sinks.publish.outbox_relay import OutboxRelay
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages

_DRAIN = 4.0
_LOOK = timedelta(minutes=1)
_SHARE = timedelta(milliseconds=500)

_log = get_logger(__name__)


class LeaseTooShortError(OurError):
    """A call to İYS could outlast the lease, and another process would tell the same again."""

    def __init__(self, lease: timedelta, timeout: timedelta) -> None:
        super().__init__(
            f"IZIN_LEASE ({lease.total_seconds():g} s) must be at least twice IYS_TIMEOUT "
            f"({timeout.total_seconds():g} s)"
        )


class NoPushCredentialsError(OurError):
    """A push address is set, and no credentials İYS could sign in with there."""

    def __init__(self) -> None:
        super().__init__("IZIN_PUSH_URL is set: set IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD too")


def run(
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    iys: IysSettings,
    sink: SinkSettings,
    codec: Codec,
) -> None:
    """Run a sink worker until SIGTERM or SIGINT; raises what is our own fault."""

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
    credentials = _credentials(sink)
    owner = secrets.randbelow(2**31 - 1) + 1
    topic_messages = TopicMessages(codec, kafka.topics)
    notifications, metrics = Notifications(), Metrics()
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(Ledger(ledger_settings, owner=owner))
        pacer = LedgerPacer(
            ledger,
            Pace(rate=iys.requests_per_second),
            address=iys.egress_address,
            counted=metrics.called,
        )
        await pacer.begin()
        auth = TokenAuth(iys, _token_store(ledger, iys))
        client = await stack.enter_async_context(IysClient(iys, auth=auth, pacer=pacer))
        publisher = await stack.enter_async_context(Publisher(kafka))
        context = OutboundContext(
            ledger=ledger,
            client=client,
            topic_messages=topic_messages,
            clock=now,
            pacer=pacer,
            lease_owner=_lease_owner(ledger.owner, iys, sink),
            unforeseen=metrics.unforeseen,
        )
        directory = BrandDirectory(ledger)
        receiver = PushReceiver(
            credentials=credentials,
            directory=directory,
            publisher=publisher,
            topic_messages=topic_messages,
            clock=now,
            counted=metrics.pushed.inc,
        )
        pace = records_per_second(iys.requests_per_second, batch_size=sink.batch_size)
        http_server = server.server(
            sink,
            server.app(ledger, metrics, receiver, kafka.topics, clock=now, pace=pace),
        )
        alive = asyncio.Event()
        works = {
            "listen": lambda: notifications.listen(ledger),
            "live": lambda: ledger.live(alive),
            "ingest": Ingester(
                ledger=ledger,
                topic_messages=topic_messages,
                codec=codec,
                settings=kafka,
                clock=now,
                wait=_SHARE,
            ).run,
            **{
                f"follow {lane}": SequenceTracker(
                    ledger=ledger, codec=codec, settings=kafka, topic=name, clock=now, wait=_SHARE
                ).run
                for lane, name in (
                    ("bulk", kafka.topics.events.name),
                    ("express", kafka.topics.express.name),
                )
            },
            "deliver": OutboxRelay(
                ledger=ledger,
                settings=kafka,
                notifications=notifications,
                clock=now,
                wait=sink.poll_interval,
            ).run,
            "anchor": AnchorWriter(
                ledger=ledger,
                topic_messages=topic_messages,
                file=sink.anchor_file,
                clock=now,
                interval=sink.anchor_interval,
            ).run,
            "survey": SubscriptionMonitor(context=context).run,
            "watch": DeadlineMonitor(ledger=ledger, clock=now, interval=_LOOK).run,
            "pull": lambda: _pull(
                Puller(context=context, publisher=publisher, interval=sink.pull_interval), sink
            ),
        }
        if sink.push_url is not None and credentials is not None:
            works["register push"] = PushRegistrar(
                context=context,
                directory=directory,
                url=sink.push_url,
                credentials=credentials,
                only=sink.push_brands,
            ).run
        tasks = [
            asyncio.create_task(keep_running(name, work), name=name) for name, work in works.items()
        ]
        # What it tells before others see that it lives, they would take up as a dead one's.
        await _first(alive, stopping)
        ready = [
            asyncio.create_task(loop, name=name)
            for name, loop in outbound_loops(context, iys, sink, notifications, stopping)
        ]
        http = asyncio.create_task(http_server.serve(), name="http")
        _log.info("sink worker ready", host=sink.host, port=sink.port, process=os.getpid())
        try:
            await _until(stopping, [*tasks, *ready, http])
        finally:
            stopping.set()
            http_server.should_exit = True
            await _drained(ready, tasks, http)
            with contextlib.suppress(LedgerUnavailableError):
                await pacer.flush()
                async with ledger.transaction() as connection:
                    await submissions.release(connection, owner=ledger.owner, now=now())


async def _pull(puller: Puller, sink: SinkSettings) -> None:
    rest = min(sink.pull_interval, max(sink.poll_interval, sink.pull_interval / 10))
    async with puller.context.ledger.sole(puller.context.lease_owner.sole("pull")):
        while True:
            await puller.pull()
            await asyncio.sleep(rest.total_seconds())


async def _until(stopping: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return when the process is to stop; raise what ended one of its works."""
    asked = asyncio.create_task(stopping.wait(), name="stop")
    done, _ = await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    for task in done - {asked}:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("stops for a fault of ours", work=task.get_name(), error=repr(error))
            raise error


async def _first(*events: asyncio.Event) -> None:
    """Return when one of ``events`` is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _drained(
    ready: list[asyncio.Task[None]],
    tasks: list[asyncio.Task[None]],
    http: asyncio.Task[None],
) -> None:
    """Let what is on its way end, within the time there is; then stop everything."""
    for task in tasks:
        task.cancel()
    await asyncio.wait([*ready, http], timeout=_DRAIN)
    await cancel_all([*ready, *tasks, http])


def _token_store(ledger: Ledger, iys: IysSettings) -> LedgerTokenStore:
    return LedgerTokenStore(ledger=ledger, account=iys.username, address=iys.egress_address)


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


def _credentials(sink: SinkSettings) -> Credentials | None:
    if sink.push_username is None or sink.push_password is None:
        if sink.push_url is not None:
            raise NoPushCredentialsError
        return None
    return Credentials(username=sink.push_username, password=sink.push_password)


def now() -> datetime:
    """Return the instant that it is."""
    return datetime.now(UTC)
