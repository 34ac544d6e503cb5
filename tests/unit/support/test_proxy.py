"""A proxy forwards, falls silent with its connections open, and shows that its server is away.

A process under a wrong clock, which jumps at a signal.
"""

import asyncio
import signal
import subprocess
import sys
import time

import pytest

from izin.local import free_port
from tests.support.proxy import proxy_to
from tests.support.skewed_process import JUMPS, MOST_SKEW

_LIMIT = 10


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line with itself, until the client ends."""
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def test_silent_proxy_forwards_what_it_held_back_and_then_the_end() -> None:
    """A client that gave up meanwhile has its request arrive late, as at a network's return."""
    arrived = asyncio.Queue[bytes]()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait(await reader.read())
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with (
        asyncio.timeout(_LIMIT),
        server,
        proxy_to("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy,
    ):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        while not proxy.ports:  # noqa: ASYNC110 - of the other side
            await asyncio.sleep(0)
        proxy.silence()
        writer.write(b"late")
        writer.close()
        await writer.wait_closed()
        assert arrived.empty()
        proxy.resume()
        assert await arrived.get() == b"late"


async def test_server_that_is_away_ends_the_connection() -> None:
    """The client is not left waiting, and can connect once the server is back."""
    port = free_port()
    async with asyncio.timeout(_LIMIT), proxy_to("127.0.0.1", port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b""
        writer.close()
        async with await asyncio.start_server(echo, "127.0.0.1", port):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"there\n")
            assert await reader.readline() == b"there\n"
            assert len(proxy.ports) == 1
            writer.close()


_ROUNDED = 0.001
PROGRAM = "tests.unit.support.show_clock"


@pytest.mark.parametrize("skew", [-MOST_SKEW, 0.0, MOST_SKEW])
def test_clock_is_wrong_from_the_first_import_and_jumps(skew: float) -> None:
    """Wall clocks only: the monotonic one is right, or time-outs would be."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.skewed_process", str(skew), PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, expected in [(None, skew), *JUMPS.items()]:
            if number is not None:
                process.send_signal(signal.Signals(number))
            before = time.time(), time.monotonic()
            process.stdin.write("show\n")
            process.stdin.flush()
            wall, monotonic = map(float, process.stdout.readline().split())
            after = time.time(), time.monotonic()
            assert before[0] - _ROUNDED <= wall - expected <= after[0] + _ROUNDED
            assert before[1] <= monotonic <= after[1]
        process.stdin.close()
