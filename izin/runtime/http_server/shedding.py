"""The limits of an HTTP server: requests that are too many are refused, and bodies that are too
large or too slow; each excess is counted.

A client may have as many requests in progress as are still free: alone it gets half of all, two get
a third each, and so on. No client can take what another needs, and none needs a limit of its own.
(Known from switches: dynamic thresholds for a shared buffer, Choudhury and Hahne, 1998.) API keys
share the requests in the same way, from however many addresses a key comes.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv6Address, ip_network

from prometheus_client import CollectorRegistry, Counter as Total, Gauge
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from izin.runtime.http_server.problems import ProblemText

SOON = 1
"""Seconds: a request takes milliseconds, so there is soon room again."""
FULL = ProblemText(503, "Busy", "the server is full; send this again", SOON)
OF_CLIENT = ProblemText(
    429, "Too many requests", "this client has too many requests in progress; send this again", SOON
)
OF_KEY = ProblemText(
    429, "Too many requests", "this key has too many requests in progress; send this again", SOON
)
HEALTH = "/health/"
"""The paths that are answered however full the server is."""
BODY_IS_WHOLE = "izin.body"
"""In the scope of a request: its body had arrived before it was begun."""
_SCOPE = "izin.http"
"""Under which a request has the ``Shedding`` that it shares with others."""
_DESCRIPTORS = 65_536
_CLIENT_BITS = 64
"""Whoever has one IPv6 address has a network of this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """The limits of one server; times are in seconds."""

    connections: int = 2048
    """Open connections; one more, and the idlest is closed. Above ``requests``: a connection whose
    request is being processed is never closed for another."""
    requests: int = 1024
    """Requests in progress. One client may have as many as are still free, so half of them if it is
    alone, and there is always room for one more client."""
    head_within: float = 10.0
    """Until the request line and all headers are there, from the connection or the first byte."""
    idle_for: float = 5.0
    """Between two requests of a connection."""
    body_within: float = 15.0
    """Until all of the body is there."""
    request_within: float = 60.0
    """From the head of a request until the client has taken the whole response."""


class Refused(StrEnum):
    """Why a request was refused or a connection was closed."""

    FULL = "full"
    CLIENT = "client"
    KEY = "key"
    CONNECTIONS = "connections"
    EVICTED = "evicted"
    HEAD = "slow-head"
    BODY = "slow-body"
    REQUEST = "slow-request"


class HttpMetrics:
    """The metrics of one server's limits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Total(
            "izin_http_refused",
            "Requests refused and connections closed by a limit of the HTTP server, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in Refused:
            self._refused.labels(reason)
        self.connections = Gauge(
            "izin_http_connections", "Open HTTP connections.", registry=registry
        )
        requests = Gauge(
            "izin_http_requests", "HTTP requests in progress, but for health.", registry=registry
        )
        self.shared: list[Shares] = []
        """Of which the requests in progress are counted when somebody asks."""
        requests.set_function(lambda: sum(one.taken for one in self.shared))

    def refused(self, reason: Refused) -> None:
        """Count what a limit refused."""
        self._refused.labels(reason).inc()


class Shares:
    """How many of ``most`` requests each of those who share them has in progress."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.free = most
        """How many more there may be in all."""
        self._in_progress: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many there are in all."""
        return self._most - self.free

    def is_spent(self, name: str) -> bool:
        """Whether ``name`` has as many as are free, so that one more is not its own to take."""
        return self._in_progress[name] >= self.free

    def take(self, name: str) -> None:
        """Count one more of ``name``."""
        self._in_progress[name] += 1
        self.free -= 1

    def give_back(self, name: str) -> None:
        """Count one less of ``name``."""
        self.free += 1
        self._in_progress[name] -= 1
        if not self._in_progress[name]:
            del self._in_progress[name]

    def taking(self, name: str) -> _Taken:
        """Return a context in which one more of ``name`` is counted."""
        return _Taken(self, name)


@dataclass(slots=True)
class _Taken:
    shares: Shares
    name: str

    def __enter__(self) -> None:
        self.shares.take(self.name)

    def __exit__(self, *_: object) -> None:
        self.shares.give_back(self.name)


class Shedding:
    """ASGI middleware that passes on the requests for which there is room."""

    def __init__(self, app: ASGIApp, limits: HttpLimits, metrics: HttpMetrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.keys = Shares(limits.requests)
        self._clients = Shares(limits.requests)
        metrics.shared.append(self._clients)
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(HEALTH):
            await self._app(scope, receive, send)
            return
        client = client_of(scope["client"])
        reason = self._excess(client)
        if reason is not None:
            self.metrics.refused(reason)
            await (FULL if reason is Refused.FULL else OF_CLIENT).response()(scope, receive, send)
            return
        scope[_SCOPE] = self
        self._clients.take(client)
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is left to answer
        finally:
            self._clients.give_back(client)

    def _excess(self, client: str) -> Refused | None:
        if self._clients.free <= 0:
            return Refused.FULL
        return Refused.CLIENT if self._clients.is_spent(client) else None


def share_of_key(request: Request, name: str) -> AbstractContextManager[None]:
    """Return a context in which ``request`` counts as one of the key of this ``name``.

    Raises:
        RequestRefusedError: the key has as many in progress as are still free (429).
    """
    sharing: Shedding | None = request.scope.get(_SCOPE)
    if sharing is None:
        return nullcontext()
    if sharing.keys.is_spent(name):
        sharing.metrics.refused(Refused.KEY)
        raise OF_KEY.error()
    return sharing.keys.taking(name)


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
    sharing: Shedding | None = request.scope.get(_SCOPE)
    limits = HttpLimits() if sharing is None else sharing.limits
    reading = _read_body(request, largest)
    if request.scope.get(BODY_IS_WHOLE):  # a deadline would cost more than to read it
        return await reading
    try:
        async with asyncio.timeout(limits.body_within):
            return await reading
    except TimeoutError:
        if sharing is not None:
            sharing.metrics.refused(Refused.BODY)
        raise too_slow(limits).error() from None


async def _read_body(request: Request, largest: int) -> bytes:
    body, is_whole = bytearray(), False
    while not is_whole:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(body) > largest:
            raise too_large(largest).error()
    return bytes(body)


def too_large(largest: int) -> ProblemText:
    """Return what is said of a body over ``largest`` bytes."""
    return ProblemText(413, "Too large", f"the body is over {largest} bytes; send less at once")


def too_slow(limits: HttpLimits) -> ProblemText:
    """Return what is said of a body that takes too long."""
    return ProblemText(
        408,
        "Too slow",
        f"the body did not arrive within {limits.body_within:g} s; send it again",
    )


def within_descriptors(limits: HttpLimits) -> HttpLimits:
    """Return ``limits`` with no more connections than half of the files a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(hard, _DESCRIPTORS) if hard != resource.RLIM_INFINITY else _DESCRIPTORS
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    most = max(soft, allowed) // 2
    return replace(limits, connections=min(limits.connections, most))
