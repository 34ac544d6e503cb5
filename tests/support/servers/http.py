"""A server under test: its public listener and that of operators, on ports of their own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from izin.local import free_port
from izin.runtime.http_server.problems import operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.http_server.shedding import HttpLimits, Refused
from izin.runtime.settings import FeedsSettings, GateSettings, IntakeSettings
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
    settings: FeedsSettings | GateSettings | IntakeSettings,
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
