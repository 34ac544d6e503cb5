"""The process of the intake: what it serves, what it follows in Kafka, and in which order both end.

It binds its ports first and listens once Kafka is reachable; on SIGTERM it closes the ports first,
then Kafka: stopping loses nothing.
"""

import asyncio
from datetime import timedelta
from functools import partial
from random import Random
from typing import Final

from starlette.routing import Route

from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import access_of
from izin.kafka.tables.api_keys import ApiKeyReader
from izin.kafka.tables.brand_directory import BrandReader
from izin.producers.intake.forms import FormIntake
from izin.producers.intake.links import LinkIntake
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.intake.server import Intake
from izin.producers.intake.sources import SourceIntake
from izin.producers.links import LinkKeys
from izin.producers.new_event import utc_now
from izin.producers.publishing.publisher import KafkaPublisher
from izin.producers.sources import SourceFolder
from izin.producers.sources.source import FormMapping, SourceMapping
from izin.runtime.http_server.problems import HttpApi
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.process import entered
from izin.runtime.settings import IntakeSettings, KafkaSettings
from izin.schemas.codec import Codec

_DELIVERY: Final = timedelta(seconds=10)
_LINGER: Final = timedelta(milliseconds=5)
"""How long a post waits to be sent with others: at many a second Kafka's client and the broker have
a fraction of the work."""
_DRAIN: Final = 20
_FRESH_FOR: Final = 0.5
"""Seconds for which a mapping stays as it was read: its files cost a tenth of a delivery."""


def routes_of(
    intake: Intake, sources: SourceIntake, forms: FormIntake, links: LinkIntake | None
) -> list[Route]:
    """Return the routes of the process; without secrets for ``links`` it has none of those."""
    return [
        Route("/v1/consents", intake.post, methods=["POST"]),
        Route("/v1/sources/{source}", sources.post, methods=["POST"]),
        Route("/v1/forms/{form}", forms.post, methods=["POST"]),
        *(links.routes if links else ()),
    ]


def serve(kafka: KafkaSettings, intake: IntakeSettings, codec: Codec) -> None:
    """Serve the intake until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start.
    """
    how = partial(run, kafka, intake, codec)
    serve_until_stopped(intake, how, server="the intake", variables="IZIN_INTAKE")


async def run(
    kafka: KafkaSettings,
    settings: IntakeSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Serve the intake on ``listeners`` until ``stopping`` is set; raises BrokerError."""
    access, limit = access_of(kafka), settings.first_receipts
    async with entered(BrandReader(access, codec).follow()) as directory:
        with (
            ApiKeyReader(kafka, codec).follow() as keys,
            KafkaPublisher(
                access, codec, clock=utc_now, delivery_timeout=_DELIVERY, linger=_LINGER
            ) as publisher,
            ReceiptLog(
                kafka, codec, publisher.append, limit=limit, clock=utc_now
            ).follow() as receipts,
            publisher.in_loop(asyncio.get_running_loop()),
        ):
            chance = Random()  # noqa: S311  # ids are no secrets
            intake = Intake(
                publisher, directory, receipts, keys, clock=utc_now, chance=chance.randbytes
            )
            folder = SourceFolder(settings.sources, SourceMapping, fresh_for=_FRESH_FOR)
            forms = SourceFolder(settings.forms, FormMapping, fresh_for=_FRESH_FOR)
            link_keys = LinkKeys(settings.link_texts) if settings.link_texts else None
            sources = SourceIntake(intake, folder, directory, codec=codec, topics=kafka.topics)
            routes = routes_of(
                intake,
                sources,
                FormIntake(intake, forms, directory, link_keys, settings.url),
                LinkIntake(intake, link_keys, directory) if link_keys else None,
            )
            broker = BrokerWatch(kafka)
            api = HttpApi(
                routes=routes,
                registry=intake.metrics.registry,
                faults=lambda: {**broker.faults(), **keys.faults()},
                warnings=lambda: {**folder.faults(), **forms.faults()},
            )
            await listeners.serve_api(api, stopping, drain=_DRAIN, beside=(broker.run,))
