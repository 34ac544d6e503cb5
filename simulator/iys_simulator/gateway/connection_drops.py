"""Losing connections on purpose: the HTTP protocol of the twin's server knows its open sockets.

ASGI gives an application no way to cut a connection without an answer, and a lost answer is what
clients must be tested against.
"""

import asyncio
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from iys_simulator.gateway.gateway import ConnectionDroppedError

_open: dict[tuple[str, int], asyncio.Transport] = {}


class CuttableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, remembered by the client's address while it is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection."""
        connected = cast("asyncio.Transport", transport)
        super().connection_made(connected)
        if self.client:
            _open[self.client] = connected

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self.client:
            _open.pop(self.client, None)
        super().connection_lost(exc)


async def cut(request: Request) -> Response:
    """Cut the connection of `request` and wait until it is gone; the answer is heard by nobody."""
    address = (request.client.host, request.client.port) if request.client else None
    transport = _open.get(cast("tuple[str, int]", address))
    if transport is None:
        raise ConnectionDroppedError
    transport.abort()
    while not await request.is_disconnected():  # noqa: ASYNC110 - a few turns of the loop, no time
        await asyncio.sleep(0)
    return Response(status_code=503)


async def cannot_cut(_: Request) -> Response:
    """Without a server of its own (in-process tests) a lost connection is an exception."""
    raise ConnectionDroppedError
