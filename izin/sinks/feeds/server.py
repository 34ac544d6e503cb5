"""The feeds as a process.

It binds its ports first and listens once Kafka is reachable; on SIGTERM it answers who waits, and
ends. It stores nothing: what clients have read is in their cursors, and records are in its memory
only.
"""

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import uvloop

from izin.projections.api_keys import ApiKeyReader
from izin.projections.brand_directory import BrandReader
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.http_server.problems import operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.http_server.shedding import HttpLimits
from izin.runtime.kafka import access_of
from izin.runtime.logs import get_logger
from izin.runtime.process import cancel_all, stopping_on_signals, tune_gc_for_batches
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.feeds.endpoint import FeedEndpoint, FeedMetrics, feeds_app
from izin.sinks.feeds.reflection import PipelinePositions, Reflection
from izin.sinks.feeds.sources import Sources

_DRAIN = 5
_LIMITS = HttpLimits(requests=2048, connections=4096)
"""Most requests only wait, and take little."""

_log = get_logger(__name__)


def serve(kafka: KafkaSettings, settings: FeedsSettings, codec: Codec) -> None:
    """Serve the feeds until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start, or lacks a topic.
    """

    async def until_stopped(listeners: HttpListeners) -> None:
        await run(kafka, settings, codec, listeners, stopping_on_signals())

    tune_gc_for_batches()
    with closing(bound(settings)) as listeners:
        uvloop.run(until_stopped(listeners))


def bound(settings: FeedsSettings) -> HttpListeners:
    """Return the bound listeners; raises PortError."""
    return HttpListeners(settings, server="the feeds", variables="IZIN_FEEDS")


async def run(
    kafka: KafkaSettings,
    settings: FeedsSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Serve the feeds on ``listeners`` until ``stopping`` is set; raises BrokerError."""
    brands, progress = BrandReader(access_of(kafka), codec), PipelinePositions(kafka, codec)
    broker = BrokerWatch(kafka)
    async with Sources(kafka, settings, codec, brands) as sources:
        with ExitStack() as following:
            await asyncio.to_thread(following.enter_context, brands.follow())
            keys = following.enter_context(ApiKeyReader(kafka, codec).follow())
            following.enter_context(progress.following())
            endpoint = FeedEndpoint(
                sources=sources,
                reflection=Reflection(settings=kafka, admin=sources.admin, progress=progress),
                keys=keys,
                metrics=FeedMetrics(),
                clock=lambda: datetime.now(UTC),
                reflect_within=settings.reflect_within,
                stopping=stopping,
            )
            if not stopping.is_set():
                listeners.listen()
                _log.info("feeds started", host=settings.host, port=settings.port)
                await _listen(endpoint, broker, settings, listeners)


async def _listen(
    endpoint: FeedEndpoint, broker: BrokerWatch, settings: FeedsSettings, listeners: HttpListeners
) -> None:
    watching = [
        asyncio.create_task(broker.run(), name="broker watch"),
        asyncio.create_task(endpoint.sources.run(), name="topic watch"),
    ]
    registry = endpoint.metrics.registry

    def faults() -> Mapping[str, str]:
        return {**broker.faults(), **endpoint.keys.faults(), **endpoint.sources.faults()}

    try:
        await listeners.serve(
            feeds_app(endpoint, faults),
            operations_app(registry, faults),
            registry,
            proxies=settings.proxies,
            drain=_DRAIN,
            stopping=endpoint.stopping,
            limits=_LIMITS,
        )
    finally:
        await cancel_all(watching)
