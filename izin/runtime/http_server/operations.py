"""Health and metrics: all of it for operators, and for load balancers whether a server is ready."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Faults = Callable[[], Mapping[str, str]]
"""Returns what is wrong now, by the part that is at fault; it must not wait for anything."""


def health(faults: Faults, *, with_reasons: bool) -> Sequence[Route]:
    """Return ``/health/live``, and ``/health/ready``: 503 as long as there are faults.

    Without reasons they tell a stranger nothing about the installation.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        found = faults()
        if not found:
            return JSONResponse({"status": "ok"})
        reasons = found if with_reasons else {}
        return JSONResponse({"status": "unavailable", **reasons}, 503)

    return (Route("/health/live", live), Route("/health/ready", ready))


def operations_app(registry: CollectorRegistry, faults: Faults) -> Starlette:
    """Return the application of the listener for operators."""

    async def metrics(_: Request) -> Response:
        # In the event loop: whatever sets several figures there without a pause is shown together.
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[*health(faults, with_reasons=True), Route("/metrics", metrics)])
