"""TCP proxies: one that can fall silent, and one before a broker that delivers requests late.

The first keeps its connections open and forwards nothing. The second keeps a request back: its
client loses the connection, and the broker gets the request much later, as from a socket that
nobody had read. It reads what passes request by request. Of the requests that end a transaction or
add partitions to one, it knows whose they are; that takes requests of the first versions, as
aiokafka has them.
"""

import asyncio
import struct
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tests.support.tcp import ended, listening

ADD_PARTITIONS, END_TRANSACTION = 24, 26
"""The keys of the two requests in Kafka's protocol."""
AnyProxy = TypeVar("AnyProxy", "Proxy", "LateRequests")
_KEY = struct.Struct(">h")
_AT_CLIENT = 8
"""Where the client's id begins: after key, version and correlation."""
_AT_ERROR = 8
"""Where EndTxnResponse v0 has its error: after correlation and throttle time."""


class Proxy:
    """Forwards to a server until it is silenced."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
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
        """Forward one connection; it ends where the server refuses it."""
        await self._flowing.wait()
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._server)
        except OSError:
            return
        port = there_writer.get_extra_info("sockname")[1]
        self.ports.add(port)
        try:
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(self._forward(reader, there_writer))
                both_ways.create_task(self._forward(there_reader, writer))
        finally:
            self.ports.discard(port)
            await ended(there_writer)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # TLS has errors of its own where data comes after its end
            while data := await source.read(1 << 16):
                await self._flowing.wait()
                target.write(data)
                await target.drain()
            # The end of a connection passes a silent network no more than its data does.
            await self._flowing.wait()
        target.close()


def proxy_to(host: str, port: int) -> AbstractAsyncContextManager[Proxy]:
    """Return a proxy to a server, which listens on 127.0.0.1 within the context."""
    return _listening(Proxy(host, port), "127.0.0.1", 0)


@asynccontextmanager
async def _listening(proxy: AnyProxy, host: str, port: int) -> AsyncIterator[AnyProxy]:
    async with listening(proxy.serve, host, port) as proxy.port:
        yield proxy


class Loss(StrEnum):
    """What becomes of a request whose client loses its connection."""

    LATE = "delivered late"
    ANSWER = "answer lost"
    AT_ONCE = "connection lost at once"


@dataclass(slots=True)
class _Passage:
    """A connection of a client, and ours to the broker."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    answer: asyncio.Future[bytes] | None = None
    """Takes the broker's next answer, which nobody else gets; None: the client gets it."""

    def lose_client(self) -> None:
        self.client.transport.abort()


@dataclass(slots=True)
class LateRequests:
    """Forwards to a broker; loses what it is told to."""

    host: str
    broker_port: int
    port: int = 0
    _armed: dict[tuple[str, int], Loss] = field(default_factory=dict)
    _kept: dict[str, list[tuple[_Passage, bytes]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def lose(self, transactional_id: str, request: int, how: Loss) -> None:
        """Lose the next request of this key and transactional id."""
        self._armed[transactional_id, request] = how

    def disarm(self, transactional_id: str) -> int:
        """Lose nothing more; return how many losses never came."""
        armed = [one for one in self._armed if one[0] == transactional_id]
        for one in armed:
            del self._armed[one]
        return len(armed)

    async def deliver(self, transactional_id: str) -> list[int]:
        """Deliver what was kept back; return the errors of the broker's answers to ends of
        transactions.
        """
        errors = []
        for passage, request in self._kept.pop(transactional_id, []):
            passage.answer = asyncio.get_running_loop().create_future()
            passage.broker.write(request)
            answer = await passage.answer
            passage.broker.close()
            if _KEY.unpack_from(request, 4)[0] == END_TRANSACTION:
                errors.append(int(_KEY.unpack_from(answer, 4 + _AT_ERROR)[0]))
        return errors

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection; it ends where the broker refuses it."""
        try:
            from_broker, to_broker = await asyncio.open_connection(self.host, self.broker_port)
        except OSError:
            return
        passage = _Passage(writer, to_broker)
        try:
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(self._requests(reader, passage))
                both_ways.create_task(self._answers(from_broker, passage))
        finally:
            await ended(to_broker)

    async def _requests(self, reader: asyncio.StreamReader, passage: _Passage) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await _frame(reader)
                owner = _transactional_id(request)
                match self._armed.pop((owner, _KEY.unpack_from(request, 4)[0]), None):
                    case Loss.LATE:
                        self._kept[owner].append((passage, request))
                        passage.lose_client()
                        return
                    case Loss.ANSWER:
                        passage.answer = asyncio.get_running_loop().create_future()
                        passage.broker.write(request)
                        await passage.answer
                        passage.lose_client()
                        break
                    case Loss.AT_ONCE:
                        passage.broker.write(request)
                        passage.lose_client()
                        break
                passage.broker.write(request)
                await passage.broker.drain()
        passage.broker.close()

    async def _answers(self, reader: asyncio.StreamReader, passage: _Passage) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                answer = await _frame(reader)
                if passage.answer is not None:
                    passage.answer.set_result(answer)
                    return
                passage.client.write(answer)
                await passage.client.drain()
        if passage.answer is not None and not passage.answer.done():
            passage.answer.set_exception(ConnectionResetError("the broker closed the connection"))
        passage.client.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next request or answer, with its length before it."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length, "big"))


def _transactional_id(request: bytes) -> str:
    """Return whose request it is that adds partitions or ends a transaction; empty of others."""
    if _KEY.unpack_from(request, 4)[0] not in {ADD_PARTITIONS, END_TRANSACTION}:
        return ""
    at = 4 + _AT_CLIENT
    for _ in range(2):
        (length,) = _KEY.unpack_from(request, at)
        start, at = at + 2, at + 2 + max(length, 0)
    return request[start:at].decode()


def late_requests(
    host: str, broker_port: int, port: int
) -> AbstractAsyncContextManager[LateRequests]:
    """Return a proxy to a broker that listens on ``port``, within the context."""
    return _listening(LateRequests(host, broker_port), host, port)
