"""What the processes of one run share, and where its servers' data is.

A proxy forwards, falls silent with its connections open, and shows that its server is away.

A process under a wrong clock, which jumps at a signal.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Client
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from izin.local import LocalError, free_port
from tests.support.project_rules import ROOT
from tests.support.proxy import proxy_to
from tests.support.servers import distribution
from tests.support.servers.distribution import (
    ServerScheduling,
    SharedBroker,
    memory_folder,
    require_listed,
    shared_broker,
)
from tests.support.skewed_process import JUMPS, MOST_SKEW

SECURE = "tests/integration/runtime/test_secure_kafka.py"


class FakeKafka:
    """Counts its starts; an address that is None is that of a server that cannot start."""

    def __init__(self, _: Path, address: str | None = "127.0.0.1:1") -> None:
        self.bootstrap_servers = address
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")
        if self.bootstrap_servers is None:
            raise LocalError("no Java")

    def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedBroker]:
    """Yield a broker that processes share, of which none has asked yet."""
    monkeypatch.setattr(distribution, "Kafka", FakeKafka)
    shared = SharedBroker()
    yield shared
    fake: Any = shared._kafka
    if "stop" not in fake.calls:
        shared.stop()


def test_broker_of_all_is_started_by_the_first_who_asks(broker: SharedBroker) -> None:
    """Each gets the same address; a run that asks for none has started none."""
    kafka: Any = broker._kafka
    assert kafka.calls == []
    Client(broker.address).close()  # of a process that ended before it asked
    assert {shared_broker(broker.address) for _ in range(2)} == {"127.0.0.1:1"}
    broker.stop()
    assert (kafka.calls[0], kafka.calls[-1]) == ("start", "stop")
    assert not Path(broker.address).exists()


def test_broker_that_cannot_start_is_an_error_of_who_asks(broker: SharedBroker) -> None:
    """And the next is answered too."""
    kafka: Any = broker._kafka
    kafka.bootstrap_servers = None
    for _ in range(2):
        with pytest.raises(LocalError, match="no Java"):
            shared_broker(broker.address)


def test_files_that_share_a_server_are_of_one_scope() -> None:
    """Any other file is of its own; every file that is named exists."""
    scheduling = object.__new__(ServerScheduling)
    scopes = {
        one: scheduling._split_scope(f"{one}::test_it[1]")
        for one in (SECURE, "tests/e2e/test_secure_demo.py", "tests/e2e/test_up.py")
    }
    assert list(scopes.values()) == ["secure_kafka", "secure_kafka", "tests/e2e/test_up.py"]
    assert [one for one in distribution._GROUPS if not (ROOT / one).exists()] == []


def test_test_that_shares_a_server_and_is_not_listed_is_refused() -> None:
    """It would start one more of that server, or meet another's topics."""
    require_listed(SECURE, {"secure_kafka", "tmp_path"})
    require_listed("tests/unit/test_a.py", {"tmp_path"})
    for file in ("tests/unit/test_a.py", SECURE):
        with pytest.raises(pytest.UsageError, match=r"uses registry: list it in distribution\.py"):
            require_listed(file, {"unprefixed_kafka"})


@pytest.mark.parametrize(("free", "there"), [(5, False), (7, True)])
def test_data_is_in_memory_where_there_is_room(
    free: int, there: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else it is on disk, as where a machine has no such folder."""
    usage = SimpleNamespace(free=free * 1024**3)
    monkeypatch.setattr(distribution, "_MEMORY", tmp_path)
    monkeypatch.setattr(distribution, "shutil", SimpleNamespace(disk_usage=lambda _: usage))
    assert memory_folder() == (tmp_path if there else None)
    monkeypatch.undo()
    monkeypatch.setattr(distribution, "_MEMORY", tmp_path / "absent")
    assert memory_folder() is None


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
