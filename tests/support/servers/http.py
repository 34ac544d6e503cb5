"""A server under test: its public listener and that of operators, on ports of their own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from izin.local import free_port
from izin.runtime.http_server.problems import operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.http_server.shedding import HttpLimits, Refused
from izin.runtime.settings import IntakeSettings


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
