"""A push address that behaves as İYS requires, for the cases that register one.

It requires Basic authentication. Below it, `/anybody` accepts calls without credentials, and
`/silent` never responds.
"""

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator

_CREDENTIALS = "Basic " + b64encode(b"receiver:fake").decode()
_ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_UNAUTHORISED = (
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


@contextlib.asynccontextmanager
async def push_receiver() -> AsyncIterator[str]:
    """Yield the address while it listens on the loopback interface."""
    silent: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        path = head.split(" ", 2)[1]
        if path.endswith("/silent"):
            silent.add(writer)
            return
        has_credentials = _CREDENTIALS in head
        with contextlib.suppress(ConnectionError):
            await _drain_body(reader, head)
            writer.write(
                _ACCEPTED if has_credentials or path.endswith("/anybody") else _UNAUTHORISED
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/push"
    finally:
        for writer in silent:
            writer.close()
        server.close()
        await server.wait_closed()


async def _drain_body(reader: asyncio.StreamReader, head: str) -> None:
    for line in head.lower().split("\r\n"):
        name, _, value = line.partition(":")
        if name == "content-length":
            await reader.readexactly(int(value))
