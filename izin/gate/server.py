"""The gate as a process.

It listens at once, and answers with 503 until its state was read, which takes a minute for millions
of recipients: health says what it waits for. On SIGTERM it answers who has asked, and ends. It
stores nothing: its state is in memory, and its receipts are in Kafka.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from datetime import UTC, datetime

import uvloop

from izin.gate.endpoint import GateEndpoint, gate_app
from izin.gate.metrics import GateMetrics, iys_warnings, suspensions
from izin.gate.receipts import OPTIONS, ReceiptWriter
from izin.gate.state import GateState
from izin.projections.api_keys.directory import ApiKeyReader
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.gc_tuning import tune_gc_for_batches
from izin.runtime.http_server.problems import operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.kafka import producer
from izin.runtime.observe import get_logger
from izin.runtime.settings import GateSettings, KafkaSettings
from izin.runtime.task_cancellation import stopping_on_signals
from izin.schemas.codec import Codec

_DRAIN = 15
"""Seconds for what was asked: a receipt takes up to ten."""

_log = get_logger(__name__)


def serve(kafka: KafkaSettings, settings: GateSettings, codec: Codec) -> None:
    """Serve the gate until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start, or lacks a topic.
    """

    async def until_stopped(listeners: HttpListeners) -> None:
        stopping = stopping_on_signals()
        await run(kafka, settings, codec, listeners, stopping, when_read=tune_gc_for_batches)

    with closing(bound(settings)) as listeners:
        uvloop.run(until_stopped(listeners))


def bound(settings: GateSettings) -> HttpListeners:
    """Return the bound listeners; raises PortError."""
    return HttpListeners(settings, server="the gate", variables="IZIN_GATE")


async def run(  # noqa: PLR0913  # what is served, where, and until when
    kafka: KafkaSettings,
    settings: GateSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
    *,
    when_read: Callable[[], None] | None = None,
) -> None:
    """Serve the gate on ``listeners`` until ``stopping`` is set; raises BrokerError.

    ``when_read`` is called once the state is read.
    """
    state = GateState(
        kafka, codec, stale_after=settings.stale_after, suppressions=settings.suppressions
    )
    writer = ReceiptWriter(kafka.topics.gate_receipts, lambda: producer(kafka, **OPTIONS))
    with ExitStack() as opened:
        keys = opened.enter_context(ApiKeyReader(kafka, codec).follow())
        receipts = opened.enter_context(writer)
        async with _following(state, stopping, when_read) as is_read:
            gate = GateEndpoint(
                state=state,
                is_loaded=is_read,
                keys=keys,
                receipts=receipts,
                codec=codec,
                settings=settings,
                metrics=GateMetrics(state, settings, _now),
                clock=_now,
                chance=secrets.token_bytes,
            )
            if not stopping.is_set():
                listeners.listen()
                _log.info("gate started", host=settings.host, port=settings.port)
                await _listen(gate, BrokerWatch(kafka), listeners, stopping)


@asynccontextmanager
async def _following(
    state: GateState, stopping: asyncio.Event, when_read: Callable[[], None] | None
) -> AsyncIterator[Callable[[], bool]]:
    """Read ``state`` until the context ends; yield whether all of it was read once.

    Where it cannot be read, ``stopping`` is set.

    Raises:
        BrokerError: it cannot be read.
    """
    following, read = state.following(), asyncio.Event()
    loading = asyncio.create_task(asyncio.to_thread(following.__enter__), name="gate state")

    def loaded(task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            stopping.set()
        if stopping.is_set():
            return
        if when_read is not None:
            when_read()
        read.set()
        _log.info("gate state read", known=state.counts().keys)

    loading.add_done_callback(loaded)
    try:
        yield read.is_set
    finally:
        state.stop()
        await loading
        await asyncio.to_thread(following.__exit__, None, None, None)


def _now() -> datetime:
    return datetime.now(UTC)


async def _listen(
    gate: GateEndpoint, broker: BrokerWatch, listeners: HttpListeners, stopping: asyncio.Event
) -> None:
    registry = gate.metrics.registry

    def faults() -> Mapping[str, str]:
        is_read = {} if gate.is_loaded() else {"gate state": "being read"}
        return {**broker.faults(), **gate.keys.faults(), **gate.state.faults(), **is_read}

    def warnings() -> Mapping[str, str]:
        return {**suspensions(gate.state), **iys_warnings(gate.state, gate.settings, _now())}

    await listeners.serve(
        gate_app(gate, faults),
        operations_app(registry, faults, warnings),
        registry,
        proxies=gate.settings.proxies,
        drain=_DRAIN,
        stopping=stopping,
        beside=[broker.run()],
    )
