"""A receiver of webhooks that costs little: an HTTP server of one path, on 127.0.0.1.

It answers what it is asked to, and remembers what it was sent. It may run in a process of its own
(``python -m benchmarks.webhooks.receiver``), which prints its port.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import time

HOST = "127.0.0.1"
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ReceivedWebhook:
    """A request, as it came."""

    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes
    at: float
    """When its last byte was read (Unix time)."""


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """What is answered."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    after: float = 0.0
    """Seconds to wait before."""
    body: bytes = b""
    is_cut: bool = False
    """Whether the connection is closed instead."""


TAKEN = ScriptedAnswer()
Answering = Callable[[ReceivedWebhook], ScriptedAnswer]


@dataclass(slots=True)
class WebhookReceiver:
    """Receives, and remembers."""

    answer: Answering = lambda _: TAKEN
    received: list[ReceivedWebhook] = field(default_factory=list)
    port: int = 0
    keeps: bool = True
    """Whether it remembers."""
    connections: set[asyncio.Transport] = field(default_factory=set)

    def url(self, path: str = "/hook") -> str:
        """Return the URL of a path."""
        return f"http://{HOST}:{self.port}{path}"

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator["WebhookReceiver"]:
        """Listen until the context ends."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), HOST, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for one in list(self.connections):
                one.abort()


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver
        self._bytes = b""
        self._transport: asyncio.Transport | None = None
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type checker
        self._transport = transport
        self._receiver.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Forget the transport."""
        if self._transport is not None:
            self._receiver.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Read requests that are whole."""
        self._bytes += data
        while (end := self._bytes.find(_END)) >= 0:
            first, *lines = self._bytes[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (one.partition(":") for one in lines)
            }
            size = end + len(_END) + int(headers.get("content-length", "0"))
            if len(self._bytes) < size:
                return
            body, self._bytes = self._bytes[end + len(_END) : size], self._bytes[size:]
            self._take(ReceivedWebhook(first.split(" ")[1], headers, body, time()))

    def _take(self, request: ReceivedWebhook) -> None:
        receiver = self._receiver
        if receiver.keeps:
            receiver.received.append(request)
        answer = receiver.answer(request)
        if answer.after:
            self._answering = asyncio.create_task(self._later(answer))
        else:
            self._send(answer)

    async def _later(self, answer: ScriptedAnswer) -> None:
        await asyncio.sleep(answer.after)
        self._send(answer)

    def _send(self, answer: ScriptedAnswer) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if answer.is_cut:
            self._transport.abort()
            return
        lines = [
            f"HTTP/1.1 {answer.status} x",
            f"content-length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        self._transport.write("\r\n".join(lines).encode() + _END + answer.body)


async def main() -> None:
    """Receive until standard input ends."""
    receiver = WebhookReceiver(keeps=False)
    async with receiver.listening():
        sys.stdout.write(f"{receiver.port}\n")
        sys.stdout.flush()
        reading: Awaitable[str] = asyncio.to_thread(sys.stdin.read)
        with contextlib.suppress(asyncio.CancelledError):
            await reading


if __name__ == "__main__":
    asyncio.run(main())
