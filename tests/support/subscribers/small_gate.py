"""A small gate that speaks the API of the real one, and answers as a test tells it to."""

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from izin.schemas.consistency_token import LogPosition, token_of
from tests.support.builders import API_KEY
from tests.support.waiting import until

_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidOf:
    """What the gate says of one recipient."""

    may_send: bool = False
    reason: str = "opted-out"
    violation: str | None = None


def problem(status: int, detail: str, **headers: str) -> Response:
    """Return a problem document."""
    return JSONResponse(
        {"type": "about:blank", "status": status, "detail": detail},
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        "application/problem+json",
    )


@dataclass(slots=True, kw_only=True)
class SmallGate:
    """The state of a small gate: everyone not named may be sent to."""

    url: str = ""
    said: dict[str, SaidOf] = field(default_factory=dict)
    instead: deque[Response | float] = field(default_factory=deque)
    """Responses to the next requests, and seconds to wait before one."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    offset: int = 0

    def reset(self) -> None:
        """Forget everything but the address."""
        self.said.clear()
        self.instead.clear()
        self.requests.clear()

    async def ask(self, request: Request) -> Response:
        """Answer a request."""
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return problem(401, "no such key; use a valid one")
        asked = json.loads(await request.body())
        self.requests.append(asked)
        if self.instead:
            fault = self.instead.popleft()
            if isinstance(fault, Response):
                return fault
            await asyncio.sleep(fault)
        return StreamingResponse(_chunks(self._answer(asked)), media_type="application/json")

    def _answer(self, asked: dict[str, Any]) -> bytes:
        self.offset += 1
        receipt = str(UUID(int=self.offset)) if asked.get("receipt") else None
        return json.dumps(
            {
                "as_of": self.token,
                "receipt": receipt,
                "verdicts": [self._verdict(one) for one in asked["recipients"]],
            }
        ).encode()

    @property
    def token(self) -> str:
        """The token of the latest answer."""
        return token_of([LogPosition("consent-events", 0, self.offset)])

    def _verdict(self, recipient: str) -> dict[str, Any]:
        said = self.said.get(recipient, SaidOf(may_send=True, reason="registered"))
        verdict = {"recipient": recipient, "may_send": said.may_send, "reason": said.reason}
        return verdict | ({} if said.violation is None else {"violation": said.violation})


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for place in range(0, len(body), _CHUNK):
        yield body[place : place + _CHUNK]


@contextmanager
def small_gate() -> Iterator[SmallGate]:
    """Run a small gate on a port of 127.0.0.1."""
    gate = SmallGate()
    app = Starlette(routes=[Route("/v1/may-send", gate.ask, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gate.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            yield gate
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
