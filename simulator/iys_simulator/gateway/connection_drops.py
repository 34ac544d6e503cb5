"""Dropping connections on purpose: the HTTP protocol of the simulator's server knows its sockets.

ASGI gives an application no way to close a connection without a response, and a lost response is
what clients must be tested against.
"""

import asyncio
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

_open: dict[tuple[str, int], asyncio.Transport] = {}


class ConnectionDroppedError(Exception):
    """The connection is to be closed without a response."""


class DroppableProtocol(H11Protocol):
    """uvicorn's HTTP protocol, registered by the client's address while it is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        connected = cast("asyncio.Transport", transport)
        super().connection_made(connected)
        if self.client:
            _open[self.client] = connected

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection."""
        if self.client:
            _open.pop(self.client, None)
        super().connection_lost(exc)


async def drop_connection(request: Request) -> Response:
    """Drop the connection of `request` and wait until it is closed.

    Raises:
        ConnectionDroppedError: the connection is not one of `DroppableProtocol`.
    """
    address = (request.client.host, request.client.port) if request.client else None
    transport = _open.get(cast("tuple[str, int]", address))
    if transport is None:
        raise ConnectionDroppedError
    transport.abort()
    while not await request.is_disconnected():  # noqa: ASYNC110 - a few turns of the loop, no time
        await asyncio.sleep(0)
    return Response(status_code=503)


async def raise_dropped(_: Request) -> Response:
    """Raise ConnectionDroppedError: without a server, in-process, a lost connection is an error.

    Raises:
        ConnectionDroppedError: always.
    """
    raise ConnectionDroppedError
