"""The process of the relay: two lanes, what they share, and the order in which all of it ends.

It binds its ports first, and needs Kafka at the start; from then on it waits for whichever server
is away. On SIGTERM the batches in progress are finished. Several may run on one outbox: each row is
claimed by one of them.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Final

from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import access_of
from izin.kafka.tables.brand_directory import BrandReader
from izin.producers.new_event import utc_now
from izin.producers.outbox.relay import LANES, OutboxLane, OutboxMetrics
from izin.producers.publishing.publisher import KafkaPublisher
from izin.runtime.http_server.problems import HttpApi
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.process import entered, first_of
from izin.runtime.setting_rules.checks import refuse
from izin.runtime.setting_rules.database_checks import no_url
from izin.runtime.settings import KafkaSettings, OutboxSettings
from izin.schemas.codec import Codec

_DELIVERY: Final = timedelta(seconds=10)


def serve(kafka: KafkaSettings, outbox: OutboxSettings, codec: Codec) -> None:
    """Relay the outbox until SIGTERM or SIGINT.

    Raises:
        SettingError: the URL of its database is none.
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start.
    """
    refuse(no_url(outbox.database_url.get_secret_value(), "IZIN_OUTBOX_DATABASE_URL"))
    serve_until_stopped(
        outbox,
        partial(run, kafka, outbox, codec),
        server="the outbox relay",
        variables="IZIN_OUTBOX",
    )


async def run(
    kafka: KafkaSettings,
    settings: OutboxSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Relay the outbox until ``stopping`` is set; raises BrokerError."""
    access, metrics, broker = access_of(kafka), OutboxMetrics(), BrokerWatch(kafka)
    async with entered(BrandReader(access, codec).follow()) as directory:
        with (
            KafkaPublisher(access, codec, clock=utc_now, delivery_timeout=_DELIVERY) as publisher,
            publisher.in_loop(asyncio.get_running_loop()),
        ):
            lanes = {
                name: OutboxLane(
                    name=name,
                    settings=settings,
                    publisher=publisher,
                    directory=directory,
                    metrics=metrics,
                    is_reachable=lambda: broker.is_reachable,
                    clock=utc_now,
                )
                for name in LANES
            }

            def faults() -> Mapping[str, str]:
                found = {f"outbox {name}": lane.fault for name, lane in lanes.items() if lane.fault}
                return {**broker.faults(), **found}

            async def relay() -> None:
                await asyncio.gather(*(lane.run(stopping) for lane in lanes.values()))

            async def http() -> None:
                api = HttpApi(routes=(), registry=metrics.registry, faults=faults)
                await listeners.serve_api(api, stopping, drain=2, beside=(broker.run,))
                await asyncio.Event().wait()  # the lanes finish their batches, and end this

            await first_of(relay(), http())
