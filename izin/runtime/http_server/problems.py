"""What every HTTP server answers: problem details, health and metrics.

Error responses are problem details by RFC 9457, which name the place and the remedy. Health and
metrics are in full for operators; load balancers learn whether a server is ready.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isroutine
from secrets import token_hex
from types import MappingProxyType
from typing import NamedTuple

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from izin.consent import SourceError
from izin.runtime.exposition import exposition
from izin.runtime.logs import get_logger
from izin.runtime.unreadable import unreadable_batches

JSON_TYPE = "application/json"
MEDIA_TYPE = "application/problem+json"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PAGE = "docs/problems.md"
_NO_WORD = re.compile(r"[^a-z0-9]+")
_log = get_logger(__name__)
Faults = Callable[[], Mapping[str, str]]
"""Returns what is wrong now, by the part that is at fault; it must not wait for anything."""
Unserved = Callable[[Request, Exception], Awaitable[Response]]
"""Answers a request that no route does, or that a mistake of ours ended."""


class JsonResponse(Response):
    """A response with JSON; instants end with ``Z``."""

    media_type = JSON_TYPE

    def render(self, content: object) -> bytes:
        """Return ``content`` as bytes."""
        return orjson.dumps(content, option=orjson.OPT_UTC_Z)


class ProblemText(NamedTuple):
    """A kind of problem document, as the docs name it too."""

    status: int
    title: str
    detail: str
    retry_after: int | None = None
    """Seconds after which the same request may be answered; None: it is to be corrected."""

    @property
    def type(self) -> str:
        """The page about it: ``docs/problems.md`` has a section for each title."""
        return f"{_PAGE}#{_NO_WORD.sub('-', self.title.lower())}"

    def error(self, more: str = "", headers: Mapping[str, str] = NO_HEADERS) -> RequestRefusedError:
        """Return this problem as an error; ``more`` is added in brackets."""
        detail = f"{self.detail} ({more})" if more else self.detail
        text = ProblemText(self.status, self.title, detail, self.retry_after)
        return RequestRefusedError(text, headers)

    def response(self, headers: Mapping[str, str] = NO_HEADERS, **members: object) -> JsonResponse:
        """Return a response with a problem document, which has these ``members`` too. The log has
        its id.
        """
        request_id = token_hex(8)
        _log.info("request refused", request_id=request_id, status=self.status, title=self.title)
        later = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JsonResponse(
            {
                "type": self.type,
                "title": self.title,
                "status": self.status,
                "detail": self.detail,
                "request_id": request_id,
                **members,
            },
            status_code=self.status,
            headers={**later, **headers},
            media_type=MEDIA_TYPE,
        )


class RequestRefusedError(SourceError):
    """A request that is answered with a problem document."""

    def __init__(self, text: ProblemText, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(text.detail)
        self.text = text
        """What the problem document says."""
        self._headers = headers

    def response(self) -> JsonResponse:
        """Return the answer."""
        return self.text.response(self._headers)


def media_type(content_type: str, *accepted: str) -> str:
    """Return the media type that the header names, one of those ``accepted``.

    Raises:
        RequestRefusedError: it is another one (415).
    """
    found = content_type.partition(";")[0].strip().lower()
    if found in accepted:
        return found
    what = f"Content-Type must be {' or '.join(accepted)}; set the header to what the body is"
    raise ProblemText(415, "Unsupported content type", what).error()


def health(faults: Faults, *, with_reasons: bool, warnings: Faults = dict) -> Sequence[Route]:
    """Return ``/health/live``, and ``/health/ready``: 503 as long as there are faults.

    Beside the reasons are ``warnings``, with which a server is ready still, among them batches that
    cannot be unpacked, and keep what is behind them from being read. Without reasons they
    tell a stranger nothing about the installation.
    """

    async def live(_: Request) -> Response:
        return JsonResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        found = faults()
        said = {**unreadable_batches(), **warnings()} if with_reasons else {}
        more = {"warnings": dict(said)} if said else {}
        if not found:
            return JsonResponse({"status": "ok", **more})
        reasons = found if with_reasons else {}
        return JsonResponse({"status": "unavailable", **reasons, **more}, 503)

    return (Route("/health/live", live), Route("/health/ready", ready))


class _PublicApp(Starlette):
    """Answers the routes of which every word is known itself: on the way through Starlette each
    request costs eight calls more.
    """

    def __init__(self, routes: Sequence[Route], not_found: Unserved) -> None:
        super().__init__(routes=routes, exception_handlers={HTTPException: not_found})
        self._not_found = not_found
        self._direct: Mapping[tuple[object, object], Callable[[Request], Awaitable[Response]]] = {
            (method, route.path): route.endpoint
            for route in routes
            if not route.param_convertors and isroutine(route.endpoint)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        endpoint = self._direct.get((scope.get("method"), scope["path"]))
        if endpoint is None:
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except HTTPException as error:
            response = await self._not_found(request, error)
        await response(scope, receive, send)


def public_app(
    routes: Sequence[Route], faults: Faults, unserved: Unserved | None = None
) -> Starlette:
    """Return the application of the listener for everybody: it has these ``routes``, and is ready
    while there are no ``faults``. What it does not serve is a problem, unless ``unserved`` answers.
    """

    async def not_found(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        served = (f"{min((route.methods or set()) - {'HEAD'})} {route.path}" for route in routes)
        asked = f"{request.method} {request.url.path}"
        text = f"{asked} is not served; there are {', '.join(served)}"
        return ProblemText(status, "No such endpoint", text).response()

    served = [*routes, *health(faults, with_reasons=False)]
    if unserved is None:
        return _PublicApp(served, not_found)
    app = Starlette(
        routes=served, exception_handlers={HTTPException: unserved, Exception: unserved}
    )
    # Else a path with one more slash leads to whatever host the request names.
    app.router.redirect_slashes = False
    return app


def operations_app(
    registry: CollectorRegistry, faults: Faults, warnings: Faults = dict
) -> Starlette:
    """Return the application of the listener for operators."""

    async def metrics(_: Request) -> Response:
        # In the event loop: whatever sets several figures there without a pause is shown together.
        return Response(exposition(registry, faults()), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            *health(faults, with_reasons=True, warnings=warnings),
            Route("/metrics", metrics),
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpApi:
    """What a process serves, with its health and metrics."""

    routes: Sequence[Route]
    registry: CollectorRegistry
    faults: Faults
    warnings: Faults = dict
    unserved: Unserved | None = None
