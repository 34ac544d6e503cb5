"""HTTP clients that behave badly: idle, slow, or many at once; over plain sockets."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

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
