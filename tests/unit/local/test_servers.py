"""Ports: find a free one, or name the one that is taken.

Locks on folders, and the cache folder.

Servers that are not started, because the environment says otherwise.

A server of the caller's own that gives no database is an error with its words.

What the processes of one run share, and where its servers' data is.

A proxy forwards, falls silent with its connections open, and shows that its server is away; what
the tests listen with leaves no connection behind, and ends within a handshake.

A process under a wrong clock, which jumps at a signal.
"""

import asyncio
import gc
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Client
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock, call

import pytest

from izin.local import (
    LocalError,
    LocalServers,
    PortTakenError,
    StateInUseError,
    ensure_database,
    free_port,
    reservations,
)
from izin.local.reservations import HOST, FolderLock, cache_folder, claim, is_free, is_listening
from tests.support.project_rules import ROOT
from tests.support.proxy import proxy_to
from tests.support.secure import Authority, silent_tls
from tests.support.servers import distribution
from tests.support.servers.distribution import (
    ServerScheduling,
    SharedBroker,
    memory_folder,
    require_listed,
    shared_broker,
)
from tests.support.skewed_process import JUMPS, MOST_SKEW
from tests.support.tcp import listening
from tests.support.waiting import until

AT_ONCE = timedelta(0)
SECRET = "obviously-fake"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_claim_of_a_taken_port_names_port_and_setting(taken: int) -> None:
    """The error names who wanted it, the port, and the setting that chooses another."""
    with pytest.raises(PortTakenError) as caught:
        claim(taken, name="Kafka", setting="--port kafka=NUMBER")
    assert f"Kafka cannot listen on 127.0.0.1:{taken}" in str(caught.value)
    assert "--port kafka=NUMBER" in str(caught.value)


def test_taken_port_is_listening_and_not_free(taken: int) -> None:
    """A port that a program listens on is not free."""
    assert not is_free(taken)
    assert is_listening(f"{HOST}:{taken}")


def test_free_port_can_be_claimed() -> None:
    """A free port can be claimed, and nothing answers there."""
    port = free_port()
    assert claim(port, name="Kafka", setting="--port kafka=NUMBER") == port
    assert not is_listening(f"{HOST}:{port}")


def test_port_in_time_wait_is_free(taken: int) -> None:
    """Connections left over from a killed run do not block the next one."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection((HOST, port))
        served, _ = listener.accept()
        served.close()
        client.close()
    assert is_free(port)


def test_claim_without_a_port_is_below_the_ephemeral_range() -> None:
    """Without a port, a free one below the kernel.s ephemeral range."""
    assert 20_000 <= claim(None, name="Kafka", setting="--port kafka=NUMBER") <= 32_000


def choose(monkeypatch: pytest.MonkeyPatch, *chosen: int) -> None:
    """Let chance choose these ports, one after the other."""
    upcoming = iter(chosen)
    monkeypatch.setattr(reservations.random, "randint", lambda *_: next(upcoming))


def test_port_is_chosen_once_before_anybody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers of one run get different ports, though neither listens yet."""
    first, other = free_port(), free_port()
    monkeypatch.setattr(reservations, "_chosen", deque())
    choose(monkeypatch, first, first, other)
    assert (free_port(), free_port()) == (first, other)


def test_port_that_another_process_chose_is_not_free() -> None:
    """Runs that start at the same time get different ports, until the other has ended."""
    program = "from izin.local import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        chosen = int(process.stdout.readline())
        assert is_free(chosen)
        assert not reservations._reserve(chosen)
        process.communicate("\n")
    assert reservations._reserve(chosen)


def test_folder_lock_taken_names_the_folder_and_its_owner(tmp_path: Path) -> None:
    """The second run learns which folder is in use, and by which process."""
    with (
        FolderLock(tmp_path, within=AT_ONCE),
        pytest.raises(StateInUseError, match=r"is in use by another run \(pid \d+"),
        FolderLock(tmp_path, within=AT_ONCE),
    ):
        pytest.fail("two runs have locked the same folder")


def test_folder_lock_inherited_lasts_as_long_as_the_server(tmp_path: Path) -> None:
    """The next run waits for a server that outlives its parent."""
    lock = FolderLock(tmp_path, within=AT_ONCE)
    lock.acquire()
    server = subprocess.Popen(
        [sys.executable, "-c", "input()"], pass_fds=[lock.descriptor], stdin=subprocess.PIPE
    )
    lock.release()
    with pytest.raises(StateInUseError):
        lock.acquire()
    server.communicate(b"\n")
    until(lambda: server.poll() is not None)
    with lock:
        pass


def test_folder_lock_not_taken_has_no_descriptor(tmp_path: Path) -> None:
    """Passing on a lock that is not held is a bug, and an error."""
    with pytest.raises(RuntimeError, match="is not locked"):
        _ = FolderLock(tmp_path, within=AT_ONCE).descriptor


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({"XDG_CACHE_HOME": "/c"}, Path("/c/izin")), ({}, Path.home() / ".cache/izin")],
)
def test_cache_folder_follows_xdg_cache_home(environ: dict[str, str], expected: Path) -> None:
    """XDG_CACHE_HOME where it is set; else ~/.cache."""
    assert cache_folder(environ) == expected


def test_protocol_of_brokers_that_are_not_named_is_refused(tmp_path: Path) -> None:
    """Our processes would speak it to the broker that is started here, which does not."""
    servers = LocalServers(tmp_path, environ={"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"})
    with pytest.raises(LocalError, match="KAFKA_SECURITY_PROTOCOL=SASL_SSL") as refused:
        servers.start()
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "protocol", [{"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, {"KAFKA_SECURITY_PROTOCOL": ""}, {}]
)
def test_protocol_of_named_brokers_is_theirs(tmp_path: Path, protocol: dict[str, str]) -> None:
    """Nothing is started, and nothing refused."""
    named = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9093", "DATABASE_URL": "postgresql:///x"}
    with LocalServers(tmp_path, environ={**named, **protocol}) as servers:
        assert servers.environment() == named


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/izin", "port 1 failed"),
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/izin?sslmode=verify-full", "sslrootcert"),
        (f"izin {SECRET}", "is not a PostgreSQL URL"),
    ],
)
def test_unusable_server_is_named_without_the_password(url: str, why: str) -> None:
    """Who starts a stack on it has to correct DATABASE_URL."""
    with pytest.raises(LocalError, match="DATABASE_URL") as refused:
        ensure_database(url, "izin_run")
    assert why in str(refused.value)
    assert SECRET not in str(refused.value)


SECURE = "tests/integration/runtime/test_secure_kafka.py"


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Return the server of a broker that processes share."""
    made = Mock(bootstrap_servers="127.0.0.1:1")
    monkeypatch.setattr(distribution, "Kafka", lambda _: made)
    return made


@pytest.fixture
def broker(kafka: Mock) -> Iterator[SharedBroker]:
    """Yield a broker that processes share, of which none has asked yet."""
    shared = SharedBroker()
    yield shared
    if not kafka.stop.called:
        shared.stop()


def test_broker_of_all_is_started_by_the_first_who_asks(broker: SharedBroker, kafka: Mock) -> None:
    """Each gets the same address; a run that asks for none has started none."""
    assert kafka.method_calls == []
    Client(broker.address).close()  # of a process that ended before it asked
    assert {shared_broker(broker.address) for _ in range(2)} == {"127.0.0.1:1"}
    broker.stop()
    assert (kafka.method_calls[0], kafka.method_calls[-1]) == (call.start(), call.stop())
    assert not Path(broker.address).exists()


def test_broker_that_cannot_start_is_an_error_of_who_asks(
    broker: SharedBroker, kafka: Mock
) -> None:
    """And the next is answered too."""
    kafka.start.side_effect = LocalError("no Java")
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


async def test_silent_proxy_forwards_what_it_held_back_and_then_the_end() -> None:
    """A client that gave up meanwhile has its request arrive late, as at a network's return."""
    arrived = asyncio.Queue[bytes]()

    async def note(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        arrived.put_nowait(await reader.read())

    async with (
        asyncio.timeout(_LIMIT),
        listening(note) as port,
        proxy_to("127.0.0.1", port) as proxy,
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
        async with listening(echo, "127.0.0.1", port):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"there\n")
            assert await reader.readline() == b"there\n"
            assert len(proxy.ports) == 1
            writer.close()


_ROUNDED = 0.001
PROGRAM = "tests.unit.local.show_clock"


@pytest.mark.parametrize("skew", [-MOST_SKEW, 0.0, MOST_SKEW])
def test_clock_is_wrong_from_the_first_import_and_jumps(skew: float) -> None:
    """Wall clocks only: the monotonic one is right, or time-outs would be."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.skewed_process", str(skew), PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
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


@pytest.mark.parametrize("rounds", range(5))
async def test_server_of_the_tests_leaves_no_connection(rounds: int):
    """However far asyncio has come with one it accepted, and however long a round takes."""
    loop = asyncio.get_running_loop()
    served = set[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(writer)
        await reader.read()

    async with listening(serve) as port:
        with socket.create_connection((HOST, port), 5) as client:
            for _ in range(rounds):
                await asyncio.sleep(0)
            loop.call_soon(time.sleep, 0.02)
            client.settimeout(5)
    gc.collect()  # what was left would be a warning now
    assert all(writer.transport.is_closing() for writer in served)


async def test_server_of_the_tests_ends_within_a_handshake(tmp_path: Path) -> None:
    """Of a client that has said nothing yet, as one that connects again while the test ends."""
    async with asyncio.timeout(_LIMIT):
        async with silent_tls(Authority(tmp_path).issue("server")) as address:
            _, writer = await asyncio.open_connection(*address.split(":"))
            for _ in range(_HANDSHAKE_BEGUN):
                await asyncio.sleep(0)
        writer.close()


_HANDSHAKE_BEGUN = 100
"""Rounds of the loop."""
