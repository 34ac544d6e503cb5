"""The Faust app of the order worker: assignment, agents and lifecycle; the work is in ``worker``.

Faust gives what it is good at. It never commits (see ``transport``), keeps no tables, creates no
topics. Its co-partitioning assignor is wanted, for both lanes of a partition number must go to one
worker; Faust uses it only where ``table_standby_replicas`` is above zero.

That assignor takes no assignment that was made for another address. The group gives a static member
that comes back what it had, with its former address; so to Faust a worker's address is its name.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, assert_never

import faust
from faust.tables import TableManager

from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import topic_faults
from izin.runtime.dead_letter_budget import DeadLetterBudget
from izin.runtime.errors import BrokerError
from izin.runtime.exposition import exposition
from izin.runtime.http_server.addresses import ListenAddress
from izin.runtime.logs import exiting_on_error, get_logger
from izin.runtime.process import tune_gc_for_batches
from izin.runtime.settings import KafkaSettings, StateKind, StreamSettings
from izin.schemas.codec import Codec
from izin.streams.engine import transport
from izin.streams.engine.watches import (
    OUTSIDE_FOR,
    BoundedShutdown,
    LaneWatch,
    Watchdog,
    WorkerMetrics,
)
from izin.streams.engine.worker import OrderWorker
from izin.streams.ownership import credentials
from izin.streams.state.rocks import RocksFolder
from izin.streams.state.state import MemoryState, PartitionState

EXIT_CONFIG = 78
"""The exit status of sysexits.h for a configuration that cannot be used."""
EXIT_FAULT = 71
"""The exit status after a fault of ours: nothing of the batch was committed."""

_DEFAULT_FOLDER = "worker"
"""Of a worker without an instance id; a second one on the machine finds it locked."""
_BUFFERED_BATCHES = 2
_BUFFERED_BYTES = 64 << 20
"""What of a worker's fetched records may wait to be decided: a batch for each lane it owns."""
_OFFSETS_PUBLISHED_EVERY = 5.0
"""Seconds between two commits of the group's offsets, which lag tools alone read."""
_ASKED_EVERY = 1.0
_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread may keep the interpreter while another waits for it. Bulk is folded a
slice of some two milliseconds at a time; who fetches or commits would wait for several."""

_log = get_logger(__name__)


RELIES_ON = (
    "faust.app.base:App._create_directories",
    "faust.tables.manager:TableManager.on_start",
    "faust.tables.manager:TableManager._update_channels",
    "mode.worker:Worker._sentinel_task",
    "mode.worker:Worker.install_signal_handlers",
)
"""Private to Faust, and overridden here; a test checks each."""


class _App(faust.App):
    """Faust's app without the folders for its tables, of which there are none."""

    def _create_directories(self) -> None:
        """Make nothing."""


class _NoTables(TableManager):
    """Faust's tables, of which there are none: it does not wait a second for one to be registered,
    in which the partitions of a worker that restarts would be idle.
    """

    async def on_start(self) -> None:
        """Be ready at once."""
        await self._update_channels()
        await self.recovery.start()


class _Worker(faust.Worker):
    """Faust's worker; ``watches.BoundedShutdown`` receives its signals."""

    shutdown: BoundedShutdown

    def install_signal_handlers(self) -> None:
        """Receive the signals in a thread, which wakes the loop."""
        self.shutdown.watch(lambda: self.loop.call_soon_threadsafe(self._on_sigterm))

    async def _sentinel_task(self) -> None:
        """Return at once, where Faust would sleep for another second."""


def create_app(kafka: KafkaSettings, streams: StreamSettings, codec: Codec) -> faust.App:
    """Return the app of one order worker; run it with :func:`run`."""
    brokers = ";".join(f"{transport.SCHEME}://{one}" for one in kafka.bootstrap_servers.split(","))
    name = streams.instance_id
    app = _App(
        streams.group(kafka),
        broker=brokers,
        broker_credentials=credentials(kafka),
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_max_poll_interval=30.0,
        broker_max_poll_records=streams.max_poll_records,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=name,
        consumer_max_fetch_size=min(1 << 20, _BUFFERED_BYTES // (2 * kafka.partitions)),
        stream_buffer_maxsize=_BUFFERED_BATCHES,
        # A rebalance that waited for a batch in hand, which may wait for its broker, would block
        # the whole group. The batch is dropped, or committed and not decided again.
        stream_wait_empty=False,
        topic_partitions=kafka.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=1,
        TableManager=_NoTables,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        web_host=streams.host,
        web_bind=streams.host,
        web_port=streams.port,
        # Faust knows a worker by its address, to which nothing connects: here by its name.
        canonical_url=name and f"http://worker.invalid/{name}",
    )
    group = streams.group(kafka)
    worker = OrderWorker(
        settings=kafka,
        group=group,
        codec=codec,
        new_state=states(streams, group),
        suppressions=streams.suppressions,
        budget=DeadLetterBudget(share=kafka.dead_letter_share),
    )
    transport.register(worker.gate, ahead=[kafka.topics.express.name])
    broker = BrokerWatch(kafka)
    _order_lanes(app, worker, kafka)
    watch = LaneWatch(kafka, codec, next_offset=worker.next_offset)
    _serve(app, worker, broker, watch, kafka)
    _watch(app, worker, broker, watch)
    return app


def states(streams: StreamSettings, group: str) -> Callable[[int], PartitionState]:
    """Return the function that makes the state of a partition, as the settings say."""
    match streams.state:
        case StateKind.MEMORY:
            return lambda _: MemoryState()
        case StateKind.ROCKSDB:
            name = streams.instance_id or _DEFAULT_FOLDER
            return RocksFolder(streams.state_folder / group / name).state
        case _:
            assert_never(streams.state)


def _order_lanes(app: faust.App, worker: OrderWorker, kafka: KafkaSettings) -> None:
    """Pass assignments and batches of both lanes to ``worker``."""
    bulk, express = kafka.topics.events.name, kafka.topics.express.name

    @app.on_partitions_assigned.connect
    async def assigned(_app: faust.App, assigned: Any, **_: Any) -> None:  # noqa: ANN401  # Faust's sets of TP
        by_lane = {
            lane: [tp.partition for tp in assigned if tp.topic == lane] for lane in (bulk, express)
        }
        try:
            await worker.assign(by_lane[bulk], by_lane[express])
        except Exception:
            _exit_at_once("assignment failed")
            raise

    async def order(stream: Any, lane: str) -> None:  # noqa: ANN401  # Faust's stream
        async for event in stream.events():
            worker.dispatch(lane, event.message.partition, event.value)

    @app.agent(app.topic(express, value_type=None, key_type=None), name="express")
    async def order_express(stream: Any) -> None:  # noqa: ANN401  # Faust's stream
        await order(stream, express)

    @app.agent(app.topic(bulk, value_type=None, key_type=None), name="bulk")
    async def order_bulk(stream: Any) -> None:  # noqa: ANN401  # Faust's stream
        await order(stream, bulk)


def _serve(
    app: faust.App,
    worker: OrderWorker,
    broker: BrokerWatch,
    watch: LaneWatch,
    kafka: KafkaSettings,
) -> None:
    """Serve ``/health/live``, ``/health/ready`` (503 until every assigned partition is caught up,
    while Kafka does not answer, and while another's transaction holds one back) and ``/metrics``.
    """
    lanes = {"bulk": kafka.topics.events.name, "express": kafka.topics.express.name}
    metrics = WorkerMetrics(worker, lanes, watch)

    @app.page("/health/live")
    async def live(web: Any, _request: Any) -> Any:  # noqa: ANN401  # Faust's views
        return web.json({"status": "ok"})

    @app.page("/health/ready")
    async def ready(web: Any, _request: Any) -> Any:  # noqa: ANN401  # Faust's views
        acquired, assigned = sorted(worker.ready), sorted(worker.assigned)
        held = watch.held(assigned)
        body = {
            "ready": acquired,
            "assigned": assigned,
            "keys": worker.keys,
            "kafka": broker.is_reachable,
            **held,
        }
        is_owned = bool(assigned) and acquired == assigned
        is_ready = is_owned and broker.is_reachable and not held
        return web.json(body, status=200 if is_ready else 503)

    @app.page("/metrics")
    async def metrics_page(web: Any, _request: Any) -> Any:  # noqa: ANN401  # Faust's views
        return web.text(
            exposition(metrics.registry, broker.faults()).decode(), content_type="text/plain"
        )


def _watch(app: faust.App, worker: OrderWorker, broker: BrokerWatch, lanes: LaneWatch) -> None:
    """Run the watches as long as the app runs, and release the partitions at its end."""
    watchdogs = (
        Watchdog(),
        Watchdog(
            limit=OUTSIDE_FOR,
            what="membership in the group",
            is_progressing=lambda: not app.rebalancing,
        ),
    )

    @app.task
    async def watch(_app: faust.App) -> None:
        for watchdog in watchdogs:
            watchdog.start()
        await asyncio.gather(*(watchdog.beat() for watchdog in watchdogs))

    @app.task
    async def watch_kafka(_app: faust.App) -> None:
        await asyncio.gather(
            worker.watch_topics(), broker.run(), lanes.run(lambda: worker.assigned)
        )

    @app.timer(_OFFSETS_PUBLISHED_EVERY)
    async def publish_offsets(_app: faust.App) -> None:
        if not app.rebalancing:
            with suppress(Exception):  # Faust would end the worker, and lag tools alone are served
                await app.consumer.publish_offsets(worker.decided)

    @app.on_before_shutdown.connect
    async def closing(_app: faust.App, **_: Any) -> None:  # noqa: ANN401  # Faust's signal
        for watchdog in watchdogs:
            watchdog.stop()
        await worker.close()


def _exit_at_once(event: str) -> None:
    _log.critical(event, exc_info=True)
    os._exit(EXIT_FAULT)


def _topic_faults(kafka: KafkaSettings) -> tuple[str, ...]:
    """Return what is wrong with the topics, as soon as a broker tells."""
    while True:
        try:
            return topic_faults(kafka)
        except BrokerError as error:
            _log.critical("Kafka not reached", error=str(error), effect="it is waited for")
            time.sleep(_ASKED_EVERY)  # it may refuse at once


def _check_port(streams: StreamSettings) -> None:
    """Exit where the port is taken: Faust would bind it last, and end with a traceback."""
    with exiting_on_error("order worker start failed"):
        ListenAddress(
            server="the order worker",
            host=streams.host,
            port=streams.port,
            settings="IZIN_STREAM",
        ).bind().close()


def run(kafka: KafkaSettings, streams: StreamSettings, codec: Codec) -> None:
    """Run an order worker until SIGTERM or SIGINT; exits the process.

    Topics with wrong settings end it with ``EXIT_CONFIG`` before it begins, a port that it cannot
    have with ``EXIT``. A broker that is away is waited for.
    """
    _check_port(streams)
    faults = _topic_faults(kafka)
    for fault in faults:
        _log.critical("topic check failed", fault=fault)
    if faults:
        raise SystemExit(EXIT_CONFIG)
    shutdown = BoundedShutdown()
    app = create_app(kafka, streams, codec)
    worker = _Worker(app, override_logging=False, redirect_stdouts=False, quiet=True)
    worker.spinner = None  # it writes a terminal's controls, also where the log is a file
    worker.shutdown = shutdown
    tune_gc_for_batches()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    worker.execute_from_commandline()
