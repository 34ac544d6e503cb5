"""A TCP server of the tests that leaves nothing behind: what is left to the garbage collector is a
warning in whichever test comes next.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Serves one connection, which is closed when it returns."""


@asynccontextmanager
async def listening(serve: Serve, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve connections within the context, and yield the port; 0 takes a free one.

    At its end every handler is cancelled, and every connection ended, also one that was accepted a
    moment ago.
    """
    served = set[asyncio.Task[None]]()
    transports = set[asyncio.BaseTransport]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        plain = writer.transport
        served.add(task)
        transports.add(plain)
        try:
            await serve(reader, writer)
            if writer.transport is not None:  # as TLS leaves it that is given up in its handshake
                await ended(writer)
        finally:
            # Without a wait: of a handshake that is cancelled nobody hears the end.
            for transport in (plain, writer.transport):
                if transport is not None:
                    transport.abort()
            served.discard(task)
            transports.discard(plain)

    server = await asyncio.start_server(handle, host, port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        # Not closed yet: asyncio drops what it has accepted and not yet begun to serve, unclosed.
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        server.close()
        handlers = list(served)
        for task in handlers:
            task.cancel()
        for transport in list(transports):
            transport.abort()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)


async def ended(writer: asyncio.StreamWriter) -> None:
    """Close a connection once what was written is sent; at once where this is cancelled."""
    writer.close()
    try:
        with suppress(OSError):
            await writer.wait_closed()
    finally:
        writer.transport.abort()


_ROUNDS = 10
"""Of the loop, in which what was accepted gets its transport and its handler: asyncio needs four.
Not a time, which may pass within one.
"""


@contextmanager
def silent_server() -> Iterator[tuple[int, Callable[[], int]]]:
    """Yield the port of a server that reads nothing, and what then counts the bytes that come until
    its connection ends, however it does.
    """

    def received() -> int:
        count = 0
        connection, _ = server.accept()
        with connection, suppress(ConnectionResetError):
            while some := connection.recv(1 << 16):
                count += len(some)
        return count

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
        yield int(server.getsockname()[1]), received


_LITTLE = 4096
"""Bytes that a silent server has from its network; the rest is still with the client."""
