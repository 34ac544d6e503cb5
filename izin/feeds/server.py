"""The feeds as a process.

It binds its ports first and listens once Kafka is reachable; on SIGTERM it answers who waits, and
ends. It stores nothing: what clients have read is in their cursors, and records are in its memory
only.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial

from izin.feeds.endpoint import FeedEndpoint, FeedMetrics, routes_of
from izin.feeds.reflection import PipelinePositions, Reflection
from izin.feeds.sources import Sources
from izin.kafka.tables.api_keys import ApiKeyReader
from izin.kafka.tables.brand_directory import BrandReader
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.http_server.problems import HttpApi
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.http_server.shedding import HttpLimits
from izin.runtime.kafka import access_of
from izin.runtime.process import entered, tune_gc_for_batches
from izin.runtime.settings import FeedsSettings, KafkaSettings
from izin.schemas.codec import Codec

_DRAIN = 5
_LIMITS = HttpLimits(requests=2048, connections=4096)
"""Most requests only wait, and take little."""


def serve(kafka: KafkaSettings, settings: FeedsSettings, codec: Codec) -> None:
    """Serve the feeds until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start, or lacks a topic.
    """
    tune_gc_for_batches()
    how = partial(run, kafka, settings, codec)
    serve_until_stopped(settings, how, server="the feeds", variables="IZIN_FEEDS")


async def run(
    kafka: KafkaSettings,
    settings: FeedsSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Serve the feeds on ``listeners`` until ``stopping`` is set; raises BrokerError."""
    brands, progress = BrandReader(access_of(kafka), codec), PipelinePositions(kafka, codec)
    broker, metrics = BrokerWatch(kafka), FeedMetrics()
    async with Sources(kafka, settings, codec, brands) as sources, entered(brands.follow()):
        with ApiKeyReader(kafka, codec).follow() as keys, progress.following():
            endpoint = FeedEndpoint(
                sources=sources,
                reflection=Reflection(settings=kafka, admin=sources.admin, progress=progress),
                keys=keys,
                metrics=metrics,
                clock=lambda: datetime.now(UTC),
                reflect_within=settings.reflect_within,
                stopping=stopping,
            )
            api = HttpApi(
                routes=routes_of(endpoint),
                registry=metrics.registry,
                faults=lambda: {**broker.faults(), **keys.faults(), **sources.faults()},
            )
            await listeners.serve_api(
                api, stopping, drain=_DRAIN, limits=_LIMITS, beside=(broker.run, sources.run)
            )
