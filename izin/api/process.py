"""The process of the API: over the ledger, so that no process that takes events waits for it.

It listens once Kafka and the ledger answer; on SIGTERM it answers who has asked, and ends. It
stores nothing but looks at people and the opt-outs of changed recipients.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from izin.api.endpoint import ApiEndpoint, routes_of
from izin.api.synthetic_opt_outs import SyntheticOptOuts
from izin.feeds.older_records import OlderRecords
from izin.kafka.broker_watch import BrokerWatch
from izin.kafka.clients import access_of, admin, broker_errors, identities
from izin.kafka.tables.api_keys import ApiKeyReader
from izin.kafka.tables.brand_directory import BrandReader
from izin.producers.new_event import utc_now
from izin.producers.publishing.publisher import KafkaPublisher
from izin.runtime.http_server.problems import HttpApi
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.process import entered
from izin.runtime.settings import ApiSettings, KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.monitor.metrics import LedgerWatch, monitored_ledger

_DELIVERY = timedelta(seconds=10)
_DRAIN = 20


def serve(
    kafka: KafkaSettings, ledger: LedgerSettings, settings: ApiSettings, codec: Codec
) -> None:
    """Serve the API until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        BrokerError: Kafka cannot be reached at the start, or lacks a topic.
        LedgerUnavailableError: PostgreSQL cannot be reached at the start.
    """
    how = partial(run, kafka, ledger, settings, codec)
    serve_until_stopped(settings, how, server="the API", variables="IZIN_API")


async def run(  # noqa: PLR0913, PLR0917  # the groups of settings, where, and when to stop
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    settings: ApiSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Serve the API on ``listeners`` until ``stopping`` is set; raises as ``serve``."""
    access = access_of(kafka)
    records = OlderRecords(kafka, readers=settings.readers)
    with broker_errors(kafka):
        inputs = [kafka.topics.events.name, kafka.topics.express.name]
        partitions = identities(admin(kafka), inputs).partitions
    async with AsyncExitStack() as stack:
        stack.push_async_callback(records.close)
        ledger, monitored = await stack.enter_async_context(monitored_ledger(ledger_settings))
        brands = await stack.enter_async_context(entered(BrandReader(access, codec).follow()))
        keys = stack.enter_context(ApiKeyReader(kafka, codec).follow())
        publisher = stack.enter_context(
            KafkaPublisher(access, codec, clock=utc_now, delivery_timeout=_DELIVERY)
        )
        stack.enter_context(publisher.in_loop(asyncio.get_running_loop()))
        endpoint = ApiEndpoint(
            ledger=ledger,
            records=records,
            publisher=publisher,
            brands=brands,
            keys=keys,
            digests=settings.suppressions,
            partitions=partitions,
            via_a_day=settings.via_a_day,
            clock=utc_now,
        )
        broker, watch = BrokerWatch(kafka), LedgerWatch(monitored)

        def faults() -> Mapping[str, str]:
            return {**broker.faults(), **watch.faults(), **keys.faults()}

        api = HttpApi(routes=routes_of(endpoint), registry=endpoint.metrics.registry, faults=faults)
        beside = [broker.run, watch.run]
        if settings.synthetic_key is not None:
            probe = SyntheticOptOuts(settings, endpoint.metrics.registry, clock=utc_now)
            beside.append(probe.run)
        await listeners.serve_api(api, stopping, drain=_DRAIN, beside=beside)
