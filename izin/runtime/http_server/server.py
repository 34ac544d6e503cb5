"""Bind the addresses of a process, and serve its applications there within limits.

uvicorn 0.54 closes a connection only when it is idle after a response: one that sends nothing, or a
byte now and then, stays for ever, and counts for ``limit_concurrency``, beyond which all are
refused. Here each phase of a connection has a deadline, and when all places are taken, the
connection that has waited longest for a request, of the client that has most, gives way (nginx
drains its reusable connections so).

What another server on the way might read otherwise is refused (RFC 9112, 6.3 and 2.2): a length
beside chunks, and lines that end with LF alone. Else a request could be smuggled past it.
"""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, cast

import h11
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from izin.runtime.http_server.addresses import ListenAddress, PortError
from izin.runtime.http_server.problems import HttpApi, ProblemText, operations_app, public_app
from izin.runtime.http_server.shedding import (
    BODY_IS_WHOLE,
    FULL,
    SOON,
    HttpLimits,
    HttpMetrics,
    Refused,
    Shedding,
    client_of,
    within_descriptors,
)
from izin.runtime.logs import get_logger
from izin.runtime.process import cancel_all, stopping_on_signals, tune_gc_for_batches
from izin.runtime.settings.processes import HttpAddresses, ProxiedAddresses

RELIES_ON = (
    "uvicorn.protocols.http.h11_impl:H11Protocol._unset_keepalive_if_required",
    "uvicorn.protocols.http.h11_impl:H11Protocol.on_response_complete",
    "uvicorn.protocols.http.h11_impl:H11Protocol.send_400_response",
)
"""Not documented by uvicorn, and used or overridden here; a test checks each."""
_BLANK_LINE = re.compile(rb"\n\r?\n")
_SMALL, _MOST_SMALL = 16, 1024
"""Bytes of a chunk that costs as much as a large one, and how many of them a body may have."""
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BACKLOG = 2048
_TICK = 1.0
"""Seconds: dates of responses have no more. Left to itself, uvicorn wakes ten times as often."""
_log = get_logger(__name__)


class Connections:
    """The open connections of one server."""

    def __init__(self, limits: HttpLimits, metrics: HttpMetrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self._open: Counter[str] = Counter()
        self._waiting: dict[str, dict[_ServedConnection, None]] = {}
        """Those without a request in progress, by client; the longest waiting first."""

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """Return the protocol of a new connection, as uvicorn's protocol classes do."""
        return _ServedConnection(self, config, server_state, app_state, _loop)

    def open(self, connection: "_ServedConnection") -> bool:
        """Take in a connection; return whether there was a place, or another gave way."""
        is_full = self._open.total() >= self.limits.connections
        if is_full and not self._evict():
            return False
        self._open[connection.name] += 1
        self.metrics.connections.inc()
        return True

    def close(self, connection: "_ServedConnection") -> None:
        """Forget a connection that was taken in."""
        self.request_begins(connection)
        self._open[connection.name] -= 1
        if not self._open[connection.name]:
            del self._open[connection.name]
        self.metrics.connections.dec()

    def waits(self, connection: "_ServedConnection") -> None:
        """Note that a connection waits for its next request."""
        self._waiting.setdefault(connection.name, {})[connection] = None

    def request_begins(self, connection: "_ServedConnection") -> None:
        """Note that it waits no longer."""
        others = self._waiting.get(connection.name, {})
        others.pop(connection, None)
        if not others:
            self._waiting.pop(connection.name, None)

    def _evict(self) -> bool:
        if not self._waiting:
            return False
        client = max(self._waiting, key=self._open.__getitem__)
        self.metrics.refused(Refused.EVICTED)
        next(iter(self._waiting[client])).evict()
        return True


class _StrictParser(h11.Connection):
    """Parses requests that can be read in one way only, and not in endless pieces.

    The head of a response is written with the first of its body, as ASGI has it: one write instead
    of two, and one packet.
    """

    small = 0
    """How many small chunks the present body had."""
    _head: Sequence[bytes] = ()
    """Of a response, not written yet."""

    def send_with_data_passthrough(self, event: h11.Event) -> list[bytes] | None:
        """Return what is to be written now."""
        data = super().send_with_data_passthrough(event)
        if type(event) is h11.Response:
            self._head = data or ()
            return []
        if self._head and data is not None:
            data, self._head = [*self._head, *data], ()
        return data

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event; raises h11.RemoteProtocolError."""
        if self.their_state is h11.IDLE:
            read = self.trailing_data[0]
            # To count is quick, and hardly a client sends a bare LF, even in a body.
            is_suspect = read.count(b"\n") != read.count(b"\r\n")
            if is_suspect and _BARE_LF.search(_BLANK_LINE.split(read, maxsplit=1)[0]):
                raise h11.RemoteProtocolError("a line ends with LF alone")
        event = super().next_event()
        # Not isinstance, which takes long of a class that others may register with.
        if type(event) is h11.Data and event.chunk_start and len(event.data) < _SMALL:
            self.small += 1
            if self.small > _MOST_SMALL:
                raise h11.RemoteProtocolError("too many small chunks")
        if type(event) is h11.Request:
            self.small = 0
            names = {name.lower() for name, _ in event.headers.raw_items()}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("a length beside chunks")
        return event


class _ServedConnection(H11Protocol):
    """uvicorn's connection with a deadline for what it waits for."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self.conn = _StrictParser(h11.SERVER)
        self.name = ""
        """Of its client."""
        self._connections = connections
        self._limits = connections.limits
        self._metrics = connections.metrics
        self._is_open = False
        self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None
        """Fires at the deadline, or before."""
        self._fires_at = self._deadline = 0.0
        self._awaits: Refused | None = None
        """What it is refused for at the deadline."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request, if there is a place for the connection."""
        super().connection_made(cast("asyncio.Transport", transport))
        self.name = client_of(self.client)
        self._is_open = self._connections.open(self)
        if not self._is_open:
            self._refuse(Refused.CONNECTIONS, FULL)
            return
        self._connections.waits(self)
        self._wait(self._limits.head_within, Refused.HEAD)

    def data_received(self, data: bytes) -> None:
        """Process what the client sent."""
        if self._is_refused:
            return
        if self._awaits is None:
            self._wait(self._limits.head_within, Refused.HEAD)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._begin()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read; what its application answers meanwhile goes nowhere."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        super().send_400_response(msg)

    def on_response_complete(self) -> None:
        """Wait for the client to take the response, and for its next request."""
        cycle = self.cycle
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.cycle is not cycle:  # the client had sent more than one request
            self._begin()
            return
        self._connections.waits(self)
        is_sending = self.transport.is_closing() or self.transport.get_write_buffer_size()
        if is_sending:
            self._wait(self._limits.request_within, Refused.REQUEST)
        else:
            self._wait(self._limits.idle_for, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place of the connection."""
        super().connection_lost(exc)
        self._leave()

    def evict(self) -> None:
        """Give way to another connection."""
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        self._cancel()
        if self._is_open:
            self._is_open = False
            self._connections.close(self)

    def _begin(self) -> None:
        cast("dict[str, Any]", self.cycle.scope)[BODY_IS_WHOLE] = not self.cycle.more_body
        self._connections.request_begins(self)
        self._wait(self._limits.request_within, Refused.REQUEST)

    def _wait(self, seconds: float, awaits: Refused | None) -> None:
        """Begin another phase. A timer that fires too early then waits for the rest: to replace it
        three times a request would cost more than to let it fire now and then.
        """
        self._awaits = awaits
        self._deadline = self.loop.time() + seconds
        if self._timer is None or self._deadline < self._fires_at:
            self._start_timer()

    def _start_timer(self) -> None:
        self._cancel()
        self._fires_at = self._deadline
        self._timer = self.loop.call_at(self._deadline, self._expire)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        match self._awaits:
            case _ if self.loop.time() < self._deadline:
                self._start_timer()
            case Refused.REQUEST:
                self._metrics.refused(Refused.REQUEST)
                self.transport.abort()
            case Refused.HEAD if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
                late = f"the headers did not arrive within {self._limits.head_within:g} s"
                self._refuse(Refused.HEAD, ProblemText(408, "Too slow", late, SOON))
            case Refused.HEAD:  # of a body that came too late, it has sent bytes still
                self._metrics.refused(Refused.HEAD)
                self._linger()
            case _:
                self.transport.close()

    def _refuse(self, reason: Refused, text: ProblemText) -> None:
        self._metrics.refused(reason)
        response = text.response({"Connection": "close"})
        for event in (
            h11.Response(status_code=text.status, headers=response.raw_headers),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def _linger(self) -> None:
        """Close once the client has had time to read. Closed at once, what it still sends would be
        answered with a reset, at which its system drops what it has not read yet: the reason.
        """
        self._is_refused = True
        self.transport.write_eof()
        self._wait(self._limits.idle_for, None)


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
        self._settings = settings
        self._server = server
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

    async def serve_api(
        self,
        api: HttpApi,
        stopping: asyncio.Event,
        *,
        drain: int,
        limits: HttpLimits = HttpLimits(),  # noqa: B008  # frozen
        beside: Iterable[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
        """Listen, and serve ``api`` until ``stopping`` is set; not at all where it is. What is
        ``beside`` it runs meanwhile.

        Raises:
            PortError: another process listens already.
        """
        if stopping.is_set():
            return
        self.listen()
        settings = self._settings
        _log.info("listening", server=self._server, host=settings.host, port=settings.port)
        await self.serve(
            public_app(api.routes, api.faults, api.unserved),
            operations_app(api.registry, api.faults, api.warnings),
            api.registry,
            proxies=settings.proxies if isinstance(settings, ProxiedAddresses) else "",
            drain=drain,
            stopping=stopping,
            limits=limits,
            beside=[one() for one in beside],
        )

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
        beside: Iterable[Coroutine[Any, Any, None]] = (),
    ) -> None:
        """Serve both applications until ``stopping`` is set; requests in progress then have
        ``drain`` seconds.

        The metrics of the limits are in ``registry``. From ``proxies``, addresses with commas
        between them, the header X-Forwarded-For is believed. What is ``beside`` it runs meanwhile.
        """
        limits, metrics = within_descriptors(limits), HttpMetrics(registry)
        servers = [
            _Server(
                uvicorn.Config(
                    Shedding(app, limits, metrics),
                    http=cast("Any", Connections(limits, metrics).protocol),
                    ws="none",
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    server_header=False,
                    proxy_headers=bool(proxies),
                    forwarded_allow_ips=proxies,
                    timeout_graceful_shutdown=drain,
                )
            )
            for app in (public, operations)
        ]
        meanwhile = [asyncio.create_task(one) for one in (_stop(servers, stopping), *beside)]
        try:
            await asyncio.gather(
                *(
                    server.serve(sockets=[listener])
                    for server, (_, listener) in zip(servers, self._bound, strict=True)
                )
            )
        finally:
            await cancel_all(meanwhile)


def serve_until_stopped(
    settings: HttpAddresses,
    run: Callable[[HttpListeners, asyncio.Event], Coroutine[Any, Any, None]],
    *,
    server: str,
    variables: str,
) -> None:
    """Bind the addresses, and ``run`` with an event that SIGTERM or SIGINT sets; collections of
    garbage are tuned so that none halts it for long.

    Raises:
        PortError: an address cannot be used.
    """

    async def until_stopped(listeners: HttpListeners) -> None:
        await run(listeners, stopping_on_signals())

    tune_gc_for_batches()
    with closing(HttpListeners(settings, server=server, variables=variables)) as listeners:
        uvloop.run(until_stopped(listeners))


class _Server(uvicorn.Server):
    """A server that leaves signals to its process, and rests while nothing happens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Have it end."""
        self.should_exit = True
        self._ended.set()

    async def main_loop(self) -> None:
        """Renew the date of responses each second, until it is to end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._ended.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


async def _stop(servers: list[_Server], stopping: asyncio.Event) -> None:
    await stopping.wait()
    for server in servers:
        server.end()
