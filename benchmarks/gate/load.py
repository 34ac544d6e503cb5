"""``python -m benchmarks.gate.load PORT KEYS SECONDS RATE CONNECTIONS``: ask single questions.

A RATE of 0 asks the next question on each connection as soon as the last is answered. Otherwise so
many are asked a second, each at its instant, and counted from it: what waits for a connection or
for the event loop waits in the figures. The API key is read from standard input. Printed are, as
JSON, how many were answered with a yes, and the latencies.

It speaks only what it must of HTTP, so that the server is what is measured.
"""

import asyncio
import json
import sys
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import cast

import uvloop

from benchmarks.gate.questions import HOST, request

_WARM = 0.2
"""Seconds at the beginning that are not counted."""
_LENGTH = b"content-length: "
_YES = b'"may_send":true'


def says_yes(head: bytes, body: bytes) -> bool:
    """Whether a response of a gate is a yes."""
    return head.startswith(b"HTTP/1.1 200") and _YES in body


class Connection(asyncio.Protocol):
    """Asks one question at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._received = b""
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a question."""
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, question: bytes, at: float) -> None:
        """Send a question, which counts from ``at``."""
        self._asked_at = at
        self._transport.write(question)

    def data_received(self, data: bytes) -> None:
        """Take a part of a response."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        start = head.index(_LENGTH) + len(_LENGTH)
        if len(body) < int(head[start:].partition(b"\r")[0]):
            return
        self._received = b""
        is_yes = self._load.is_right(head, body)
        self._load.answered(self, self._asked_at, is_yes=is_yes)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the load."""
        self._load.ended(exc)


class Load:
    """Asks over some connections, and counts."""

    def __init__(
        self,
        questions: list[bytes],
        seconds: float,
        rate: float,
        is_right: Callable[[bytes, bytes], bool] = says_yes,
    ) -> None:
        self.is_right = is_right
        self._questions = questions
        self._rate = rate
        self._began = self._counted_from = self._until = 0.0
        self._seconds = seconds
        self._next = 0
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self.asked = 0
        """All, also what is not counted."""
        self.latencies: list[float] = []
        self.denied = 0
        self._lost: str | None = None

    async def run(self, port: int, connections: int) -> None:
        """Ask, and count; raises ConnectionError where the server closes a connection."""
        loop = asyncio.get_running_loop()
        made = [
            (await loop.create_connection(lambda: Connection(self), HOST, port))[1]
            for _ in range(connections)
        ]
        self._began = perf_counter()
        self._counted_from = self._began + _WARM
        self._until = self._counted_from + self._seconds
        self._idle.extend(made)
        if self._rate:
            await self._ask_at_instants()
        else:
            while self._idle:
                self._ask(self._idle.popleft(), perf_counter())
            await asyncio.sleep(_WARM + self._seconds)
        if self._lost is not None:
            raise ConnectionError(self._lost)

    async def _ask_at_instants(self) -> None:
        number = 0
        while (now := perf_counter()) < self._until:
            while (due := self._began + number / self._rate) <= now:
                number += 1
                if self._idle:
                    self._ask(self._idle.popleft(), due)
                else:
                    self._waiting.append(due)
            await asyncio.sleep(due - now)
        await asyncio.sleep(1.0)  # what was asked last is answered

    def _ask(self, connection: Connection, at: float) -> None:
        self.asked += 1
        self._next = (self._next + 7919) % len(self._questions)
        connection.ask(self._questions[self._next], at)

    def answered(self, connection: Connection, asked_at: float, *, is_yes: bool) -> None:
        """Count an answer, and ask the next question."""
        now = perf_counter()
        if self._counted_from <= asked_at < self._until and (self._rate or now < self._until):
            self.latencies.append(now - asked_at)
            self.denied += not is_yes
        if not self._rate:
            if now < self._until:
                self._ask(connection, now)
        elif self._waiting:
            self._ask(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def as_json(self, seconds: float) -> str:
        """Return what came of it, for the process that has started this one."""
        return json.dumps(
            {
                "seconds": seconds,
                "asked": self.asked,
                "denied": self.denied,
                "latencies": self.latencies,
            }
        )

    def ended(self, error: Exception | None) -> None:
        """Note that a connection was lost."""
        if perf_counter() < self._until:
            self._lost = str(error or "the server closed a connection")


async def _main() -> None:
    port, keys, connections = (int(sys.argv[one]) for one in (1, 2, 5))
    key = sys.stdin.read().strip()
    seconds, rate = float(sys.argv[3]), float(sys.argv[4])
    load = Load([request(one, key) for one in range(keys)], seconds, rate)
    await load.run(port, connections)
    sys.stdout.write(load.as_json(seconds))


if __name__ == "__main__":
    uvloop.run(_main())
