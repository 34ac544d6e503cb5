"""What every HTTP server answers: problem details, health and metrics.

Error responses are problem details by RFC 9457, which name the place and the remedy. Health and
metrics are in full for operators; load balancers learn whether a server is ready.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from izin.consent.errors import SourceError
from izin.runtime.broker_faults import unreadable_batches

MEDIA_TYPE = "application/problem+json"
Faults = Callable[[], Mapping[str, str]]
"""Returns what is wrong now, by the part that is at fault; it must not wait for anything."""


class ProblemText(NamedTuple):
    """Status, title and detail of a problem document, as the docs name them too."""

    status: int
    title: str
    detail: str


class RequestRefusedError(SourceError):
    """A request that is answered with a problem document."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = headers

    @property
    def text(self) -> ProblemText:
        """What the problem document says."""
        return ProblemText(self.status, self.title, self.detail)


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """Return a problem document as a response."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            **(members or {}),
        },
        status_code=status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def no_warnings() -> Mapping[str, str]:
    """Return that nothing is to be said."""
    return {}


def health(
    faults: Faults, *, with_reasons: bool, warnings: Faults = no_warnings
) -> Sequence[Route]:
    """Return ``/health/live``, and ``/health/ready``: 503 as long as there are faults.

    Beside the reasons are ``warnings``, with which a server is ready still, among them batches that
    cannot be unpacked, and keep what is behind them from being read. Without reasons they
    tell a stranger nothing about the installation.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        found = faults()
        said = {**unreadable_batches(), **warnings()} if with_reasons else {}
        more = {"warnings": dict(said)} if said else {}
        if not found:
            return JSONResponse({"status": "ok", **more})
        reasons = found if with_reasons else {}
        return JSONResponse({"status": "unavailable", **reasons, **more}, 503)

    return (Route("/health/live", live), Route("/health/ready", ready))


def public_app(route: Route, faults: Faults) -> Starlette:
    """Return the application of the listener for everybody: its only ``route`` takes what is
    posted, and it is ready while there are no ``faults``.
    """

    async def not_found(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        what = f"{request.method} {request.url.path} is not served; POST to {route.path}"
        return problem(status, "No such endpoint", what)

    routes = [route, *health(faults, with_reasons=False)]
    return Starlette(routes=routes, exception_handlers={HTTPException: not_found})


def operations_app(
    registry: CollectorRegistry, faults: Faults, warnings: Faults = no_warnings
) -> Starlette:
    """Return the application of the listener for operators."""

    async def metrics(_: Request) -> Response:
        # In the event loop: whatever sets several figures there without a pause is shown together.
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            *health(faults, with_reasons=True, warnings=warnings),
            Route("/metrics", metrics),
        ]
    )
