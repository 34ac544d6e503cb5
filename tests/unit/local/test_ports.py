"""Ports: find a free one, or name the one that is taken.

Locks on folders, and the cache folder.

Servers that are not started, because the environment says otherwise.

A server of the caller's own that gives no database is an error with its words.
"""

import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

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
