"""Bind the addresses of a process, and serve its applications there within limits."""

import asyncio
import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from izin.consent.errors import OurError
from izin.runtime.http_server.connections import Connections
from izin.runtime.http_server.limits import HttpLimits, HttpMetrics
from izin.runtime.http_server.shedding import Shedding
from izin.runtime.settings.workers import HttpAddresses

_BACKLOG = 2048
_DESCRIPTORS = 65_536


class PortError(OurError):
    """A server cannot listen on its configured address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a server listens."""

    server: str
    """What listens there, for a person."""
    host: str
    port: int
    settings: str
    """What the names of the settings of host and port begin with."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise PortError, which names the settings, where the block raises OSError."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = f"the port is taken; set {self.settings}_PORT to another"
            else:
                remedy = (
                    f"{error.strerror}; are {self.settings}_HOST and {self.settings}_PORT right?"
                )
            where = f"{self.host}:{self.port}"
            raise PortError(f"{self.server} cannot listen on {where}: {remedy}") from error

    def bind(self) -> socket.socket:
        """Return a socket bound to the port; connections are refused until it listens.

        Raises:
            PortError: the address cannot be used.
        """
        with self.errors():
            (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )
            listener = socket.socket(family, kind, protocol)
            try:
                # Connections of an earlier run may linger.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
            except OSError:
                listener.close()
                raise
            return listener


class HttpListeners:
    """The two listeners of a process, for everybody and for operators, bound from the start.

    Raises:
        PortError: an address cannot be used.
    """

    def __init__(self, settings: HttpAddresses, *, server: str, variables: str) -> None:
        """Bind for ``server``, as a person calls it; ``variables`` is what the names of its
        settings begin with.
        """
        public = ListenAddress(
            server=server, host=settings.host, port=settings.port, settings=variables
        )
        operations = ListenAddress(
            server=f"the operations listener of {server}",
            host=settings.operations_host,
            port=settings.operations_port,
            settings=f"{variables}_OPERATIONS",
        )
        self._bound: list[tuple[ListenAddress, socket.socket]] = []
        try:
            for address in (public, operations):
                self._bound.append((address, address.bind()))
        except PortError:
            self.close()
            raise

    def close(self) -> None:
        """Free the addresses."""
        for _, listener in self._bound:
            listener.close()

    def listen(self) -> None:
        """Accept connections from now on.

        Raises:
            PortError: another process listens already; several may bind a port without listening.
        """
        for address, listener in self._bound:
            with address.errors():
                listener.listen(_BACKLOG)

    async def serve(  # noqa: PLR0913  # what is served, and within which limits
        self,
        public: ASGIApp,
        operations: ASGIApp,
        registry: CollectorRegistry,
        *,
        proxies: str,
        drain: int,
        stopping: asyncio.Event,
        limits: HttpLimits = HttpLimits(),  # noqa: B008  # frozen
    ) -> None:
        """Serve both applications until ``stopping`` is set; requests in progress then have
        ``drain`` seconds.

        The metrics of the limits are in ``registry``. From ``proxies``, addresses with commas
        between them, the header X-Forwarded-For is believed.
        """
        limits, metrics = _within_descriptors(limits), HttpMetrics(registry)
        servers = [
            _Server(_config(app, limits, metrics, proxies=proxies, drain=drain))
            for app in (public, operations)
        ]
        stop = asyncio.create_task(_stop(servers, stopping))
        try:
            await asyncio.gather(
                *(
                    server.serve(sockets=[listener])
                    for server, (_, listener) in zip(servers, self._bound, strict=True)
                )
            )
        finally:
            stop.cancel()


class _Server(uvicorn.Server):
    """A server that leaves signals to its process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


async def _stop(servers: list[_Server], stopping: asyncio.Event) -> None:
    await stopping.wait()
    for server in servers:
        server.should_exit = True


def _config(
    app: ASGIApp, limits: HttpLimits, metrics: HttpMetrics, *, proxies: str, drain: int
) -> uvicorn.Config:
    return uvicorn.Config(
        Shedding(app, limits, metrics),
        http=cast("Any", Connections(limits, metrics).protocol),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=drain,
    )


def _within_descriptors(limits: HttpLimits) -> HttpLimits:
    """Return ``limits`` with no more connections than half of the files a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = min(hard, _DESCRIPTORS) if hard != resource.RLIM_INFINITY else _DESCRIPTORS
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    most = max(soft, allowed) // 2
    return replace(limits, connections=min(limits.connections, most))
