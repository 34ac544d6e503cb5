"""Ports: find a free one, or name the one that is taken."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from izin.local import PortTakenError, free_port, reservations
from izin.local.reservations import HOST, claim, is_free, is_listening


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
    monkeypatch.setattr(reservations, "_reservations", reservations._Reservations())
    choose(monkeypatch, first, first, other)
    assert (free_port(), free_port()) == (first, other)


def test_port_that_another_process_chose_is_not_free() -> None:
    """Runs that start at the same time get different ports, until the other has ended."""
    program = "from izin.local import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        chosen = int(process.stdout.readline())
        assert is_free(chosen)
        assert not reservations._reservations.add(chosen)
        process.communicate("\n")
    assert reservations._reservations.add(chosen)
