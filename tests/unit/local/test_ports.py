"""A free port, or a clear word about a taken one."""

import socket
from collections.abc import Iterator

import pytest

from izin.local import PortTakenError, free_port
from izin.local.ports import HOST, claim, is_free, is_listening


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_refused_by_name(taken: int) -> None:
    """The error names who wanted it, the port, and the setting that chooses another."""
    with pytest.raises(PortTakenError) as caught:
        claim(taken, name="Kafka", setting="--kafka-port")
    assert f"Kafka cannot listen on 127.0.0.1:{taken}" in str(caught.value)
    assert "--kafka-port" in str(caught.value)


def test_somebody_listens_on_a_taken_port(taken: int) -> None:
    """What is taken is neither free nor silent."""
    assert not is_free(taken)
    assert is_listening(f"{HOST}:{taken}")


def test_a_free_port_is_free() -> None:
    """No error, no problem; and nobody answers there."""
    port = free_port()
    assert claim(port, name="Kafka", setting="--kafka-port") == port
    assert not is_listening(f"{HOST}:{port}")


def test_a_port_of_a_finished_connection_is_free(taken: int) -> None:
    """Connections that linger after a killed run do not keep the next one out."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection((HOST, port))
        served, _ = listener.accept()
        served.close()
        client.close()
    assert is_free(port)


def test_no_port_asked_for_is_any_port() -> None:
    """Without a wish, a free one below those the kernel lends to outgoing connections."""
    assert 20_000 <= claim(None, name="Kafka", setting="--kafka-port") <= 32_000
