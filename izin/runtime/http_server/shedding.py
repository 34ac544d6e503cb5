"""Refuse the requests that are too many, and the bodies that are too large or too slow.

A client may have as many requests in progress as are still free: alone it gets half of all, two get
a third each, and so on. No client can take what another needs, and none needs a limit of its own.
(Known from switches: dynamic thresholds for a shared buffer, Choudhury and Hahne, 1998.)
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_network

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from izin.runtime.http_server.limits import RETRY_AFTER, HttpLimits, HttpMetrics, Refused
from izin.runtime.http_server.problems import RequestRefusedError, problem

HEALTH = "/health/"
"""The paths that are answered however full the server is."""

_CLIENT_BITS = 64
"""Whoever has one IPv6 address has a network of this size."""


class Shedding:
    """ASGI middleware that passes on the requests for which there is room."""

    def __init__(self, app: ASGIApp, limits: HttpLimits, metrics: HttpMetrics) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._in_progress: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(HEALTH):
            await self._app(scope, receive, send)
            return
        client = client_of(scope["client"])
        reason = self._excess(client)
        if reason is None:
            with self._taking(client):
                scope["izin.http"] = (self._limits, self._metrics)
                await self._app(scope, receive, send)
            return
        self._metrics.refused(reason)
        response = (
            problem(503, "Busy", "the server is full; send this again", headers=RETRY_AFTER)
            if reason is Refused.FULL
            else problem(
                429,
                "Too many requests",
                "this client has too many requests in progress; send this again",
                headers=RETRY_AFTER,
            )
        )
        await response(scope, receive, send)

    def _excess(self, client: str) -> Refused | None:
        free = self._limits.requests - self._in_progress.total()
        if free <= 0:
            return Refused.FULL
        return Refused.CLIENT if self._in_progress[client] >= free else None

    @contextmanager
    def _taking(self, client: str) -> Iterator[None]:
        self._in_progress[client] += 1
        self._metrics.requests.inc()
        try:
            yield
        except ClientDisconnect:
            pass  # nobody is left to answer
        finally:
            self._metrics.requests.dec()
            self._in_progress[client] -= 1
            if not self._in_progress[client]:
                del self._in_progress[client]


def client_of(address: tuple[str, int] | None) -> str:
    """Return who has an address: the address itself, or the network of an IPv6 address."""
    host = address[0] if address else ""
    if ":" not in host:
        return host
    try:
        found = IPv6Address(host.partition("%")[0])
    except ValueError:  # a proxy names its client as it likes
        return host
    return str(found.ipv4_mapped or ip_network((found, _CLIENT_BITS), strict=False))


async def read_body(request: Request, *, largest: int) -> bytes:
    """Return the body of a request.

    Raises:
        RequestRefusedError: it has more than ``largest`` bytes (413), or takes too long (408).
        ClientDisconnect: the client has gone.
    """
    limits, metrics = request.scope.get("izin.http") or (HttpLimits(), None)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_within):
            async for chunk in request.stream():
                body += chunk
                if len(body) > largest:
                    raise RequestRefusedError(
                        413, "Too large", f"the body is over {largest} bytes; send less at once"
                    )
    except TimeoutError:
        if metrics is not None:
            metrics.refused(Refused.BODY)
        raise RequestRefusedError(
            408,
            "Too slow",
            f"the body did not arrive within {limits.body_within:g} s; send it again",
        ) from None
    return bytes(body)
