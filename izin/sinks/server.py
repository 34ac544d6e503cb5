"""Serve the HTTP endpoints of a sink worker: health, metrics, and İYS's pushes."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from izin.consent.forecast import forecast
from izin.runtime.broker_watch import BrokerWatch
from izin.runtime.settings import SinkSettings
from izin.schemas.topics import Topics
from izin.sinks.inbound.push import PushReceiver
from izin.sinks.ledger import deadlines, reads, sequences, stream_progress
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import addresses
from izin.sinks.monitor.metrics import Metrics
from izin.sinks.record.errors import LedgerUnavailableError


def app(  # noqa: PLR0913 - what is shown, and the clock and rate for it
    ledger: Ledger,
    metrics: Metrics,
    receiver: PushReceiver,
    topics: Topics,
    broker: BrokerWatch,
    *,
    clock: Callable[[], datetime],
    records_per_second: float,
) -> Starlette:
    """Return the application; ``records_per_second`` is what İYS's limits let us submit."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        try:
            await ledger.fetch("SELECT 1 AS ok")
        except LedgerUnavailableError as error:
            return JSONResponse({"status": "unavailable", "ledger": str(error)}, 503)
        if not broker.is_reachable:
            return JSONResponse({"status": "unavailable", "kafka": "does not answer"}, 503)
        return JSONResponse({"status": "ok"})

    async def page(_: Request) -> Response:
        now = clock()
        backlog = await reads.backlog(ledger)
        ahead = forecast(backlog.ready, now=now, records_per_second=records_per_second)
        metrics.show(await reads.lag(ledger, now=now), ahead)
        metrics.show_suspended(backlog.suspended)
        metrics.show_deadlines(await deadlines.margins(ledger, now=now), now=now)
        metrics.show_rate_limits(await addresses(ledger))
        metrics.show_streams(await stream_progress.read(ledger), now=now)
        metrics.show_missing(await sequences.missing(ledger, topics))
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    async def push(request: Request) -> Response:
        return await receiver(request)

    return Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", page),
            Route("/iys/push", push, methods=["POST"]),
        ]
    )


class _Server(uvicorn.Server):
    """A server that leaves signal handling to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


def server(sink: SinkSettings, application: Starlette) -> uvicorn.Server:
    """Return the server of ``application``, which runs until ``should_exit`` is set."""
    return _Server(
        uvicorn.Config(
            application,
            host=sink.host,
            port=sink.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )
