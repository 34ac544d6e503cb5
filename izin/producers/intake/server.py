"""The intake as a process.

It binds its ports first and listens once Kafka is reachable; on SIGTERM it closes the ports first,
then Kafka. Whatever was answered with 202 is in Kafka, so stopping loses nothing.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta

import uvloop

from izin.producers.intake.endpoint import Intake, intake_app
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.publishing.publisher import KafkaPublisher
from izin.projections.api_keys.directory import ApiKeyReader
from izin.projections.brand_directory import BrandDirectory, BrandReader
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.gc_tuning import tune_gc_for_batches
from izin.runtime.http_server.problems import operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.kafka import access_of
from izin.runtime.observe import get_logger
from izin.runtime.settings import IntakeSettings, KafkaSettings
from izin.runtime.task_cancellation import stopping_on_signals
from izin.schemas.codec import Codec

_DELIVERY = timedelta(seconds=10)
_DRAIN = 20

_log = get_logger(__name__)


def utc_now() -> datetime:
    """Return the current instant in UTC."""
    return datetime.now(UTC)


def serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
    """Serve the intake until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start.
    """
    tune_gc_for_batches()
    with closing(HttpListeners(intake, server="the intake", variables="IZIN_INTAKE")) as listeners:
        uvloop.run(_serve(kafka, intake, codec, listeners))


async def _serve(
    kafka: KafkaSettings, intake: IntakeSettings, codec: Codec, listeners: HttpListeners
) -> None:
    stopping = stopping_on_signals()
    access = access_of(kafka)
    async with _following(BrandReader(access, codec)) as directory:
        with (
            ApiKeyReader(kafka, codec).follow() as keys,
            KafkaPublisher(access, codec, clock=utc_now, delivery_timeout=_DELIVERY) as publisher,
            ReceiptLog(
                kafka, codec, publisher.append, limit=intake.first_receipts, clock=utc_now
            ).follow() as receipts,
        ):
            endpoint = Intake(
                publisher,
                directory,
                receipts,
                keys,
                clock=utc_now,
                chance=secrets.token_bytes,
            )
            if not stopping.is_set():
                listeners.listen()
                _log.info(
                    "intake started", host=intake.host, port=intake.port, brands=len(directory)
                )
                broker, registry = BrokerWatch(kafka), endpoint.metrics.registry

                def faults() -> Mapping[str, str]:
                    return {**broker.faults(), **keys.faults()}

                await listeners.serve(
                    intake_app(endpoint, faults),
                    operations_app(registry, faults),
                    registry,
                    proxies=intake.proxies,
                    drain=_DRAIN,
                    stopping=stopping,
                    beside=[broker.run()],
                )


@asynccontextmanager
async def _following(reader: BrandReader) -> AsyncIterator[BrandDirectory]:
    following = reader.follow()
    directory = await asyncio.to_thread(following.__enter__)
    try:
        yield directory
    finally:
        await asyncio.to_thread(following.__exit__, None, None, None)
