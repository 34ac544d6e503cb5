"""Ports: find a free one, or name the one that is taken."""

import socket
from collections.abc import Iterator

import pytest

from izin.local import PortTakenError, free_port
from izin.local.ports import HOST, claim, is_free, is_listening


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_claim_of_a_taken_port_names_port_and_setting(taken: int) -> None:
    """The error names who wanted it, the port, and the setting that chooses another."""
    with pytest.raises(PortTakenError) as caught:
        claim(taken, name="Kafka", setting="--kafka-port")
    assert f"Kafka cannot listen on 127.0.0.1:{taken}" in str(caught.value)
    assert "--kafka-port" in str(caught.value)


def test_taken_port_is_listening_and_not_free(taken: int) -> None:
    """A port that a program listens on is not free."""
    assert not is_free(taken)
    assert is_listening(f"{HOST}:{taken}")


def test_free_port_can_be_claimed() -> None:
    """A free port can be claimed, and nothing answers there."""
    port = free_port()
    assert claim(port, name="Kafka", setting="--kafka-port") == port
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
    assert 20_000 <= claim(None, name="Kafka", setting="--kafka-port") <= 32_000
