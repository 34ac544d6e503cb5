"""A TCP proxy that can fall silent: it keeps its connections open and forwards nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards to a server until it is silenced."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.ports: set[int] = set()
        """From which it is connected to the server."""

    def silence(self) -> None:
        """Forward nothing from now on, of open connections and of new ones."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, what was held back first."""
        self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection; it is closed where the server refuses it."""
        self._writers.add(writer)
        await self._flowing.wait()
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._server)
        except OSError:
            self._writers.discard(writer)
            writer.close()
            return
        self._writers.add(there_writer)
        port = there_writer.get_extra_info("sockname")[1]
        self.ports.add(port)
        ways = [
            asyncio.create_task(self._forward(source, target))
            for source, target in ((reader, there_writer), (there_reader, writer))
        ]
        for way in ways:
            self._tasks.add(way)
            way.add_done_callback(self._tasks.discard)
        await asyncio.wait(ways)
        self.ports.discard(port)
        self._writers -= {writer, there_writer}

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # TLS has errors of its own where data comes after its end
            while data := await source.read(1 << 16):
                await self._flowing.wait()
                target.write(data)
                await target.drain()
            # The end of a connection passes a silent network no more than its data does.
            await self._flowing.wait()
        target.close()

    async def close(self) -> None:
        """End every connection."""
        self._flowing.set()
        for task in self._tasks:
            task.cancel()
        for writer in list(self._writers):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def proxy_to(host: str, port: int) -> AsyncIterator[Proxy]:
    """Yield a proxy to a server, which listens on 127.0.0.1."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
