"""The network between workers and brokers falls silent for whom it should, and comes back."""

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.order.brokers import Network

NAMES = ("worker-1", "worker-2")


class Echo(socketserver.StreamRequestHandler):
    """Answers each line with itself."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


@pytest.fixture
def network() -> Iterator[Network]:
    """Yield a network to two servers in the places of brokers."""
    servers: list[socketserver.ThreadingTCPServer] = []
    with Network(NAMES, (1, 2)) as network:
        for port in network._ports.values():
            server = socketserver.ThreadingTCPServer(("127.0.0.1", port), Echo)
            server.daemon_threads = True
            servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield network
    for server in servers:
        server.shutdown()
        server.server_close()


def connect(network: Network, worker: str) -> list[socket.socket]:
    """Return a connection of `worker` to each broker."""
    found = []
    for address in network.bootstrap_servers(worker).split(","):
        host, _, port = address.partition(":")
        found.append(socket.create_connection((host, int(port)), timeout=5))
    return found


def is_answered(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    connection.sendall(b"x\n")
    try:
        return connection.recv(1024).startswith(b"x\n")
    except TimeoutError:
        return False


def test_a_silent_network_keeps_its_connections(network: Network) -> None:
    """One worker's, or one broker's, is silent; what was sent meanwhile arrives afterwards."""
    pairs = [*connect(network, NAMES[0]), *connect(network, NAMES[1])]
    assert [is_answered(one) for one in pairs] == [True] * 4
    network.silence(worker=NAMES[0])
    assert [is_answered(one) for one in pairs] == [False, False, True, True]
    network.resume()
    assert [one.recv(1024) for one in pairs[:2]] == [b"x\n"] * 2
    network.silence(broker=2)
    assert [is_answered(one) for one in pairs] == [True, False, True, False]
    network.resume()
    for one in pairs:
        one.close()


def test_a_broker_that_is_down_takes_no_connection() -> None:
    """As without a network between: the connection ends at once."""
    with Network(NAMES[:1], (1,)) as network:
        (connection,) = connect(network, NAMES[0])
        connection.settimeout(5)
        assert connection.recv(1) == b""
        connection.close()


def test_a_broker_has_a_listener_for_each_worker(network: Network) -> None:
    """It advertises the proxies, beside what it had."""
    had = {
        "listeners": "CLIENT://127.0.0.1:1",
        "advertised.listeners": "CLIENT://127.0.0.1:1",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT",
    }
    found = network.listeners(2, had)
    assert str(found["listener.security.protocol.map"]) == (
        "CLIENT:PLAINTEXT,WORKER1:PLAINTEXT,WORKER2:PLAINTEXT"
    )
    proxies = [network.bootstrap_servers(name).split(",")[1] for name in NAMES]
    assert str(found["advertised.listeners"]) == (
        f"CLIENT://127.0.0.1:1,WORKER1://{proxies[0]},WORKER2://{proxies[1]}"
    )
    assert not {one.partition("://")[2] for one in str(found["listeners"]).split(",")} & {*proxies}
