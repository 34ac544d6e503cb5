"""Serve the HTTP endpoints of a sink worker: İYS's pushes and a bare health for everybody, health
with reasons and metrics for operators.
"""

import asyncio
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from izin.runtime.http_server.problems import Faults, health, operations_app
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.http_server.shedding import HttpLimits
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.push import PushReceiver

_DRAIN = 2
_LIMITS = HttpLimits(requests=256)
"""A push may be eight times as large as a post to the intake."""


def listeners(sink: SinkSettings) -> HttpListeners:
    """Return the bound listeners of a sink worker; raises PortError."""
    return HttpListeners(sink, server="the sink", variables="IZIN_SINK")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkServer:
    """What is served on the listeners."""

    listeners: HttpListeners
    receiver: PushReceiver
    registry: CollectorRegistry
    faults: Faults
    """Without what is named here, a push could not be taken: for load balancers too."""
    failing: Faults
    """Loops that fail, of which operators alone are told: pushes are taken without them."""
    proxies: str

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping`` is set; raises PortError."""
        self.listeners.listen()
        await self.listeners.serve(
            Starlette(
                routes=[
                    Route("/iys/push", self._push, methods=["POST"]),
                    *health(self.faults, with_reasons=False),
                ]
            ),
            operations_app(self.registry, lambda: {**self.faults(), **self.failing()}),
            self.registry,
            proxies=self.proxies,
            drain=_DRAIN,
            stopping=stopping,
            limits=_LIMITS,
        )

    async def _push(self, request: Request) -> Response:
        return await self.receiver(request)
