"""What an HTTP server does with too many, idle and slow clients; over real sockets."""

import asyncio
import gc
import importlib
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field

import h11
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from izin.local import free_port
from izin.runtime.http_server import server
from izin.runtime.http_server.problems import (
    MEDIA_TYPE,
    RequestRefusedError,
    health,
)
from izin.runtime.http_server.server import HttpListeners, PortError
from izin.runtime.http_server.shedding import HttpLimits, Refused, client_of, read_body
from izin.runtime.settings import IntakeSettings
from tests.support.servers.http import (
    PAUSE,
    Reply,
    ServedHttp,
    connected,
    listeners_of,
    reply_of,
    request,
)

SHORT = 0.3
OTHER = "127.0.0.2"
"""Another client: each address of the loopback network is one."""


@dataclass(kw_only=True)
class Served(ServedHttp):
    """A server with three endpoints, and what a test has of it."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def echo(self, http_request: Request) -> Response:
        """Answer with the body."""
        try:
            return Response(await read_body(http_request, largest=100))
        except RequestRefusedError as error:
            return error.response()

    async def wait(self, _: Request) -> Response:
        """Answer when the test opens."""
        await self.opened.wait()
        return PlainTextResponse("done")

    async def large(self, _: Request) -> Response:
        """Answer with more than fits between two processes."""
        return Response(bytes(50 << 20))

    async def get(self, path: str, *, source: str = "127.0.0.1") -> Reply:
        """Get a page."""
        return await request(self.port, "GET", path, source=source)


@asynccontextmanager
async def serving(limits: HttpLimits) -> AsyncIterator[Served]:
    """Serve within ``limits``."""
    served = Served()
    app = Starlette(
        routes=[
            Route("/echo", served.echo, methods=["GET", "POST"]),
            Route("/wait", served.wait),
            Route("/large", served.large),
            *health(lambda: served.faults, with_reasons=False),
        ]
    )
    async with served.serve(app, limits, proxies="127.0.0.3"):
        try:
            yield served
        finally:
            served.opened.set()


async def test_requests_beyond_the_limit_are_refused_and_counted():
    """One client has half of the places and another half of the rest; health is always answered."""
    async with serving(HttpLimits(requests=8)) as served:
        mine = [asyncio.create_task(served.get("/wait")) for _ in range(6)]
        await served.until(lambda: served.refused(Refused.CLIENT) == 2)
        others = [asyncio.create_task(served.get("/wait", source=OTHER)) for _ in range(3)]
        await served.until(lambda: served.refused(Refused.CLIENT) == 3)
        assert served.counted("izin_http_requests") == 6
        assert (await served.get("/health/live")).status == 200
        assert (await served.get("/health/ready")).status == 200
        assert (await served.get("/echo", source="127.0.0.4")).status == 200
        served.opened.set()
        replies = await asyncio.gather(*mine, *others)
    refused = [one for one in replies if one.status != 200]
    assert len(refused) == 3
    for one in refused:
        assert one.status == 429
        assert one.headers["content-type"] == MEDIA_TYPE
        assert int(one.headers["retry-after"]) > 0
        assert json.loads(one.body)["status"] == 429


async def test_full_server_answers_503_and_health():
    """Nobody has a place then, whoever it is."""
    async with serving(HttpLimits(requests=1)) as served:
        taken = asyncio.create_task(served.get("/wait"))
        await served.until(lambda: served.counted("izin_http_requests") == 1)
        reply = await served.get("/echo", source=OTHER)
        assert (reply.status, reply.headers["content-type"]) == (503, MEDIA_TYPE)
        assert int(reply.headers["retry-after"]) > 0
        assert served.refused(Refused.FULL) == 1
        assert (await served.get("/health/live")).status == 200
        served.opened.set()
        assert (await taken).status == 200
        assert (await served.get("/echo")).status == 200


async def test_clients_behind_a_known_proxy_are_distinguished():
    """By what it says of them; anybody else's header counts for nothing."""
    async with serving(HttpLimits(requests=4)) as served:

        async def forwarded(client: str, *, source: str) -> Reply:
            headers = {"X-Forwarded-For": client}
            return await request(served.port, "GET", "/wait", headers=headers, source=source)

        def started(*calls: tuple[str, str]) -> list[asyncio.Task[Reply]]:
            return [
                asyncio.create_task(forwarded(client, source=source)) for client, source in calls
            ]

        proxied = started(("192.0.2.1", "127.0.0.3"), ("192.0.2.2", "127.0.0.3"))
        await served.until(lambda: served.counted("izin_http_requests") == 2)
        more = started(("192.0.2.1", "127.0.0.3"), ("192.0.2.3", OTHER))
        await served.until(lambda: served.counted("izin_http_requests") == 4)
        served.opened.set()
        assert {one.status for one in await asyncio.gather(*proxied, *more)} == {200}


@pytest.mark.parametrize(
    "sent", [b"", b"GET /echo HTTP/1.1\r\nHost: te"], ids=["idle", "half a head"]
)
async def test_connections_that_wait_give_way(sent: bytes):
    """Of the client that has most, the one that has waited longest."""
    async with serving(HttpLimits(connections=8)) as served, AsyncExitStack() as stack:
        first, *_ = [
            await stack.enter_async_context(connected(served.port, source=OTHER)) for _ in range(7)
        ]
        first.writer.write(sent)
        await served.until(lambda: served.counted("izin_http_connections") == 7)
        kept = await stack.enter_async_context(connected(served.port))
        for _ in range(3):
            assert (await served.get("/echo", source="127.0.0.4")).status == 200
        assert await first.end() == ""
        assert served.refused(Refused.EVICTED) >= 1
        kept.writer.write(b"GET /echo HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert reply_of(await kept.end()).status == 200


async def test_connection_beyond_all_that_work_is_refused():
    """A request in progress gives way to nobody."""
    async with serving(HttpLimits(connections=2, requests=8)) as served:
        working = [asyncio.create_task(served.get("/wait")) for _ in range(2)]
        await served.until(lambda: served.counted("izin_http_requests") == 2)
        async with connected(served.port) as one:
            reply = reply_of(await one.end())
        assert (reply.status, reply.headers["content-type"]) == (503, MEDIA_TYPE)
        assert served.refused(Refused.CONNECTIONS) == 1
        served.opened.set()
        assert [one.status for one in await asyncio.gather(*working)] == [200, 200]


async def test_idle_connection_is_closed():
    """Whether it has sent nothing yet, or nothing more after a request."""
    async with (
        serving(HttpLimits(head_within=SHORT, idle_for=SHORT)) as served,
        connected(served.port) as silent,
        connected(served.port) as kept,
    ):
        kept.writer.write(b"GET /echo HTTP/1.1\r\nHost: test\r\n\r\n")
        assert await silent.end() == ""
        assert reply_of(await kept.end()).status == 200
        assert served.refused(Refused.HEAD) == 1
        await served.until(lambda: served.counted("izin_http_connections") == 0)


async def test_headers_byte_by_byte_are_cut_off():
    """Each byte in time does not make the whole in time, of the first request or a later one."""
    async with serving(HttpLimits(head_within=SHORT)) as served:
        endless = b"GET /echo HTTP/1.1\r\nHost: test\r\n" + b"X-A: b\r\n" * 1000
        async with connected(served.port) as one:
            assert reply_of(await one.trickle(endless)).status == 408
        async with connected(served.port) as one:
            one.writer.write(b"GET /echo HTTP/1.1\r\nHost: test\r\n\r\n")
            await one.reader.readuntil(b"\r\n\r\n")
            assert reply_of(await one.trickle(endless)).status == 408
        assert served.refused(Refused.HEAD) == 2


async def test_body_byte_by_byte_is_cut_off():
    """With 408, and its place is free again."""
    async with serving(HttpLimits(body_within=SHORT, head_within=SHORT)) as served:
        async with connected(served.port) as one:
            one.writer.write(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 99\r\n\r\n")
            reply = reply_of(await one.trickle(b"x"))
        assert (reply.status, reply.headers["content-type"]) == (408, MEDIA_TYPE)
        assert served.refused(Refused.BODY) == 1
        assert served.counted("izin_http_requests") == 0


async def test_reason_reaches_a_client_that_goes_on_sending():
    """A body that came too late goes on: the connection is closed only once the client could read,
    else a reset would take the answer out of its hands.
    """
    limits = HttpLimits(body_within=SHORT, head_within=SHORT)
    async with serving(limits) as served, connected(served.port) as one:
        one.writer.write(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 999\r\n\r\n")
        await served.until(lambda: served.refused(Refused.BODY) == 1)
        one.writer.write(b"x")
        await asyncio.sleep(PAUSE)
        asyncio.get_running_loop().call_later(SHORT, one.writer.write, b"x")
        time.sleep(2 * SHORT)  # noqa: ASYNC251  # now the deadline is due, and the byte after it
        assert reply_of(await one.end()).status == 408


async def test_body_that_is_too_large_is_refused():
    """With 413, and nothing of it is kept."""
    async with serving(HttpLimits()) as served:
        assert (await request(served.port, "POST", "/echo", b"x" * 100)).status == 200
        assert (await request(served.port, "POST", "/echo", b"x" * 101)).status == 413


async def test_client_that_goes_during_its_body_frees_its_place(caplog: pytest.LogCaptureFixture):
    """Nothing is logged: it is no fault of ours."""
    async with serving(HttpLimits()) as served:
        async with connected(served.port) as one:
            one.writer.write(b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 99\r\n\r\n")
            await served.until(lambda: served.counted("izin_http_requests") == 1)
        await served.until(lambda: served.counted("izin_http_requests") == 0)
    assert caplog.text == ""


async def test_client_that_does_not_take_its_response_is_cut_off():
    """The response would stay in memory for as long as it likes."""
    async with serving(HttpLimits(request_within=SHORT)) as served, connected(served.port) as one:
        one.writer.write(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
        await served.until(lambda: served.refused(Refused.REQUEST) == 1)
        await served.until(lambda: served.counted("izin_http_connections") == 0)


def test_head_of_a_response_is_written_with_its_body():
    """Each write is a call of the system, and a packet."""
    parser = server._StrictParser(h11.SERVER)
    parser.receive_data(b"GET /echo HTTP/1.1\r\nHost: test\r\n\r\n")
    assert isinstance(parser.next_event(), h11.Request)
    assert isinstance(parser.next_event(), h11.EndOfMessage)
    assert parser.send(h11.Response(status_code=200, headers=[("content-length", "4")])) == b""
    assert parser.send(h11.Data(data=b"one ")) == b"HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\none "
    assert parser.send(h11.EndOfMessage()) == b""


async def test_requests_sent_ahead_are_all_answered():
    """Without waiting for the responses, on one connection."""
    async with serving(HttpLimits(idle_for=SHORT)) as served, connected(served.port) as one:
        one.writer.write(b"GET /echo HTTP/1.1\r\nHost: test\r\n\r\n" * 5)
        assert (await one.end()).count("HTTP/1.1 200") == 5


async def test_reasons_and_metrics_are_for_operators():
    """The public health is bare, and there are no metrics."""
    async with serving(HttpLimits()) as served:
        served.faults["kafka"] = "does not answer"
        bare = await served.get("/health/ready")
        full = await request(served.operations_port, "GET", "/health/ready")
        assert (bare.status, json.loads(bare.body)) == (503, {"status": "unavailable"})
        assert json.loads(full.body) == {"status": "unavailable", "kafka": "does not answer"}
        assert (await served.get("/metrics")).status == 404
        page = await request(served.operations_port, "GET", "/metrics")
        assert "izin_http_connections" in page.body


def test_taken_port_is_named():
    """With the setting that changes it; the other port is free again."""
    port, operations_port = free_port(), free_port()
    with closing(listeners_of(free_port(), operations_port)) as holder:
        holder.listen()
        with pytest.raises(PortError, match="IZIN_TEST_OPERATIONS_PORT"):
            listeners_of(port, operations_port)
        listeners_of(port, free_port()).close()


def test_server_collects_garbage_seldom():
    """A full collection would halt whoever waits for an answer."""
    seen: list[int] = []

    async def run(_: HttpListeners, __: asyncio.Event) -> None:
        seen.append(gc.get_threshold()[0])

    settings = IntakeSettings(port=free_port(), operations_port=free_port())
    before = gc.get_threshold()
    gc.set_threshold(700)  # Python's own, whatever other tests have left
    try:
        server.serve_until_stopped(settings, run, server="the test", variables="IZIN_TEST")
    finally:
        gc.set_threshold(*before)
    assert seen[0] > 50 * 700


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8::1", 1), "2001:db8::/64"),
        (("2001:db8::ffff:1%eth0", 1), "2001:db8::/64"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("_hidden:1", 0), "_hidden:1"),
        (None, ""),
    ],
)
def test_client_is_an_address_or_a_network(address: tuple[str, int] | None, client: str):
    """Whoever has one IPv6 address has 2 to the 64 of them."""
    assert client_of(address) == client


@pytest.mark.parametrize("name", server.RELIES_ON)
def test_what_is_overridden_in_uvicorn_is_there(name: str):
    """Another release may lack it, and our method would never be called."""
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    assert callable(found)


LENGTH, CHUNKS = "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"
BODY = "5\r\nhello\r\n0\r\n\r\n"
BEGIN = "POST /echo HTTP/1.1\r\nHost: test\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        f"{BEGIN}{LENGTH}{CHUNKS}\r\n{BODY}",
        f"{BEGIN}{CHUNKS}{LENGTH}\r\n{BODY}",
        f"{BEGIN}{LENGTH}\r\nhello".replace("\r\n", "\n"),
        f"{BEGIN}X-One: 1\n{LENGTH}\r\nhello",
        f"{BEGIN}{LENGTH}\r\nhello{BEGIN}X-One: 1\n{LENGTH}\r\nhello",
    ],
    ids=["length-first", "chunks-first", "all-lf", "one-lf", "second-request"],
)
async def test_request_that_can_be_read_in_two_ways_ends_the_connection(sent: str):
    """With 400, whichever request of the connection it is; what follows it is not read."""
    async with serving(HttpLimits()) as served, connected(served.port) as one:
        one.writer.write(sent.encode() + f"{BEGIN}{LENGTH}\r\nhello".encode())
        answered = await one.end()
        assert answered.count("HTTP/1.1 400") == 1
        assert answered.count("HTTP/1.1 200") == sent.count("hello") - 1
        assert answered.rindex("HTTP/1.1 400") == answered.rindex("HTTP/1.1")


@pytest.mark.parametrize("sent", [f"{BEGIN}{LENGTH}\r\nhello", f"{BEGIN}{CHUNKS}\r\n{BODY}"])
async def test_request_with_one_length_is_answered(sent: str):
    """Also where its body has lines that end with LF, and where it comes byte by byte."""
    async with serving(HttpLimits()) as served, connected(served.port) as one:
        whole = sent.replace("hello", "a\nb\nc").replace(BEGIN, f"{BEGIN}Connection: close\r\n")
        for byte in whole.encode():
            one.writer.write(bytes([byte]))
            await one.writer.drain()
        reply = reply_of(await one.end())
        assert (reply.status, reply.body) == (200, "a\nb\nc")


async def test_request_whose_body_cannot_be_read_is_answered_once(
    caplog: pytest.LogCaptureFixture,
):
    """With 400, though the application answers at once too; that is no error of ours to log."""
    async with serving(HttpLimits()) as served, connected(served.port) as one:
        head = "GET /health/live HTTP/1.1\r\nHost: test\r\n"
        one.writer.write(f"{head}{CHUNKS}\r\nzz\r\n".encode())
        answered = await one.end()
    assert re.findall(r"HTTP/1.1 (\d+)", answered) == ["400"]
    assert "Exception" not in caplog.text


@pytest.mark.parametrize(("chunks", "status"), [(1000, 200), (1100, 400)])
async def test_body_in_very_small_chunks_is_refused(chunks: int, status: int):
    """Each chunk costs as much as a large one, and others wait for all of them."""
    async with serving(HttpLimits(idle_for=SHORT)) as served, connected(served.port) as one:
        head = "GET /health/live HTTP/1.1\r\nHost: test\r\n"
        body = "1\r\nx\r\n" * chunks
        one.writer.write(f"{head}{CHUNKS}\r\n{body}0\r\n\r\n".encode())
        assert reply_of(await one.end()).status == status
