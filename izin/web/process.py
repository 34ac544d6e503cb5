"""The process of the console: its routes, over the ledger, and over Kafka for what is published.

It listens once both answer; on SIGTERM it answers who has asked, and ends.
"""

import asyncio
from functools import partial

from starlette.routing import Route

from izin.kafka.broker_watch import BrokerWatch
from izin.producers.new_event import utc_now
from izin.runtime.http_server.problems import HttpApi
from izin.runtime.http_server.server import HttpListeners, serve_until_stopped
from izin.runtime.http_server.shedding import HttpLimits
from izin.runtime.settings import ConsoleSettings, KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.monitor.metrics import LedgerWatch, monitored_ledger
from izin.web import pages
from izin.web.app import ConsoleApp, ConsoleMetrics
from izin.web.imports.store import delete_old, refused_rows
from izin.web.screens import (
    acts,
    complaints,
    customers,
    deadlines,
    import_rows,
    imports,
    months,
    new_consent,
    overview,
    recipient,
    subscribers,
    worklist,
)
from izin.web.sign_in import SignIn
from izin.web.visit import Console, Screen

SCREENS: tuple[Screen, ...] = (
    *overview.SCREENS,
    *deadlines.SCREENS,
    *recipient.SCREENS,
    *new_consent.SCREENS,
    *imports.SCREENS,
    *import_rows.SCREENS,
    *worklist.SCREENS,
    *customers.SCREENS,
    *complaints.SCREENS,
    *subscribers.SCREENS,
    *months.SCREENS,
    *acts.SCREENS,
)


def routes_of(app: ConsoleApp) -> list[Route]:
    """Return the routes: of screens, of signing in, and of what pages load."""
    return [
        *SignIn(app).routes(),
        *map(app.route, SCREENS),
        Route("/static/{name}", pages.static, methods=["GET"]),
    ]


_DRAIN = 5
_LIMITS = HttpLimits(body_within=150, request_within=180)
"""A file of 64 MiB comes over a line of 4 Mbit/s, too."""


def serve(
    kafka: KafkaSettings, ledger: LedgerSettings, settings: ConsoleSettings, codec: Codec
) -> None:
    """Serve the console until SIGTERM or SIGINT.

    Raises:
        PortError: an address cannot be used.
        LedgerUnavailableError: PostgreSQL cannot be reached at the start.
    """
    how = partial(run, kafka, ledger, settings, codec)
    serve_until_stopped(settings, how, server="the console", variables="IZIN_CONSOLE")


async def run(  # noqa: PLR0913, PLR0917  # the groups of settings, where, and when to stop
    kafka: KafkaSettings,
    ledger_settings: LedgerSettings,
    settings: ConsoleSettings,
    codec: Codec,
    listeners: HttpListeners,
    stopping: asyncio.Event,
) -> None:
    """Serve the console on ``listeners`` until ``stopping`` is set; raises as ``serve``."""
    async with monitored_ledger(ledger_settings) as (ledger, monitored):
        console = Console(
            ledger=ledger,
            kafka=kafka,
            settings=settings,
            codec=codec,
            clock=utc_now,
        )
        broker, watch, metrics = BrokerWatch(kafka), LedgerWatch(monitored), ConsoleMetrics()
        app = ConsoleApp(console, metrics)
        api = HttpApi(
            routes=routes_of(app),
            registry=metrics.registry,
            faults=watch.faults,
            warnings=broker.faults,
            unserved=app.unserved,
        )
        files = partial(refused_rows, settings.uploads)
        unreadable = partial(console.unreadable.run, kafka, codec, ledger, files)
        uploads = partial(delete_old, settings.uploads, settings.uploads_kept, utc_now)
        beside = (broker.run, watch.run, unreadable, uploads)
        await listeners.serve_api(api, stopping, drain=_DRAIN, limits=_LIMITS, beside=beside)
