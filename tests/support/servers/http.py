"""A server under test: its public listener and that of operators, on ports of their own.

Clients that behave badly, over plain sockets: idle, slow, or many at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from izin.local import free_port
from izin.runtime.http_server.problems import operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.http_server.shedding import HttpLimits, Refused
from izin.runtime.settings import ApiSettings, FeedsSettings, GateSettings, IntakeSettings
from tests.support.builders import AUTHORIZATION


def listeners_of(port: int, operations_port: int) -> HttpListeners:
    """Return listeners on these ports, which do not listen yet."""
    settings = IntakeSettings(port=port, operations_port=operations_port)
    return HttpListeners(settings, server="the test", variables="IZIN_TEST")


@dataclass(kw_only=True)
class ServedHttp:
    """What a test has of a server."""

    port: int = field(default_factory=free_port)
    operations_port: int = field(default_factory=free_port)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    faults: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def serve(
        self, app: Starlette, limits: HttpLimits, *, proxies: str = ""
    ) -> AsyncIterator[None]:
        """Serve ``app`` within ``limits``."""
        stopping = asyncio.Event()
        with closing(listeners_of(self.port, self.operations_port)) as listeners:
            listeners.listen()
            running = asyncio.create_task(
                listeners.serve(
                    app,
                    operations_app(self.registry, lambda: self.faults),
                    self.registry,
                    proxies=proxies,
                    drain=1,
                    stopping=stopping,
                    limits=limits,
                )
            )
            try:
                yield
            finally:
                stopping.set()
                await running

    def counted(self, name: str, **labels: str) -> float:
        """Return a figure of the metrics."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def refused(self, reason: Refused) -> float:
        """Return how many requests were refused for a reason."""
        return self.counted("izin_http_refused_total", reason=reason)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once something holds; fail the test after a while."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110  # metrics set no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def served(
    settings: ApiSettings | FeedsSettings | GateSettings | IntakeSettings,
    run: Callable[[HttpListeners, asyncio.Event], Awaitable[None]],
    *,
    ready: str = "/health/ready",
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """Have ``run`` serve until the context ends; yield a client with the key of the builders, once
    ``ready`` says yes, and the URL of the listener for operators.
    """
    stopping = asyncio.Event()
    with closing(HttpListeners(settings, server="the test", variables="IZIN_TEST")) as listeners:
        running = asyncio.ensure_future(run(listeners, stopping))
        url = f"http://127.0.0.1:{settings.port}"
        async with httpx.AsyncClient(
            base_url=url, headers=AUTHORIZATION, timeout=60, trust_env=False
        ) as client:
            try:
                await _until_ready(client, running, ready)
                yield client, f"http://127.0.0.1:{settings.operations_port}"
            finally:
                stopping.set()
                await running


async def _until_ready(client: httpx.AsyncClient, running: asyncio.Future[None], path: str) -> None:
    async with asyncio.timeout(30):
        while not running.done():
            with suppress(httpx.TransportError):
                if (await client.get(path)).is_success:
                    return
            await asyncio.sleep(0.02)
    running.result()


PAUSE = 0.02
"""Seconds between two bytes of a slow client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server sent before it closed the connection."""

    status: int
    headers: Mapping[str, str]
    body: str


class RawConnection:
    """One connection, to which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def end(self, *, within: float = 10) -> str:
        """Return all that the server sends until it closes the connection."""
        async with asyncio.timeout(within):
            try:
                return (await self.reader.read()).decode()
            except ConnectionError:
                return ""

    async def trickle(self, data: bytes, *, within: float = 10) -> str:
        """Send ``data`` byte by byte, and again, until the server closes; return what it sent."""
        ending = asyncio.create_task(self.end(within=within))
        while not ending.done():
            for number in range(len(data)):
                self.writer.write(data[number : number + 1])
                if (await asyncio.wait([ending], timeout=PAUSE))[0]:
                    break
        return await ending


@asynccontextmanager
async def connected(port: int, *, source: str = "127.0.0.1") -> AsyncIterator[RawConnection]:
    """Connect from the address ``source``: each is a client of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


async def request(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    source: str = "127.0.0.1",
    within: float = 30,
) -> Reply:
    """Send one request and return the reply to it."""
    async with connected(port, source=source) as one:
        fields = {"Host": "test", "Connection": "close", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in (fields | dict(headers or {})).items()]
        one.writer.write("\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body)
        return reply_of(await one.end(within=within))


def reply_of(text: str) -> Reply:
    """Return the reply in what a server sent."""
    head, _, body = text.partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Reply(status=int(first.split()[1]), headers=headers, body=body)
