"""The network between workers and brokers falls silent for whom it should, and comes back.

A trigger takes effect where and when it was armed for, and nowhere else.
"""

import os
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock, call

import pytest

from tests.chaos.order.brokers import Network
from tests.chaos.order.instrumented_worker import (
    FaultPoint,
    FaultTrigger,
    InstrumentedClient,
    TriggerEffect,
)
from tests.support.order.verdict import until

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


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the signals that would have hit this process."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    return sent


@pytest.fixture
def trigger(tmp_path: Path) -> FaultTrigger:
    """Return a trigger that is not armed."""
    return FaultTrigger(tmp_path / "worker.trigger")


def test_an_unarmed_trigger_does_nothing(trigger: FaultTrigger, signals: list[int]) -> None:
    """A worker without a fault passes every point."""
    for point in FaultPoint:
        trigger.reach(point)
    assert (signals, trigger.triggered_at()) == ([], None)


@pytest.mark.parametrize(
    ("effect", "number"),
    [(TriggerEffect.KILL, signal.SIGKILL), (TriggerEffect.FREEZE, signal.SIGSTOP)],
)
def test_an_armed_trigger_hits_at_its_pass_and_once(
    trigger: FaultTrigger, signals: list[int], effect: TriggerEffect, number: int
) -> None:
    """Two passes are let through, the third is hit, and the next is not."""
    trigger.arm(FaultPoint.COMMITTED, passes=3, effect=effect)
    for _ in range(2):
        trigger.reach(FaultPoint.COMMITTED)
        trigger.reach(FaultPoint.BEGUN)
    assert (signals, trigger.triggered_at()) == ([], None)
    trigger.reach(FaultPoint.COMMITTED, "partition 4")
    trigger.reach(FaultPoint.COMMITTED)
    assert (signals, trigger.triggered_at()) == ([number], "partition 4")


def test_a_trigger_within_a_commit_hits_a_moment_later(
    trigger: FaultTrigger, signals: list[int]
) -> None:
    """The commit goes on meanwhile: it may or may not have happened."""
    trigger.arm(FaultPoint.COMMITTING, passes=1, effect=TriggerEffect.KILL)
    trigger.reach(FaultPoint.COMMITTING)
    until(lambda: bool(signals), within=5, what="signal")


def test_a_blocked_thread_goes_on_when_disarmed(trigger: FaultTrigger) -> None:
    """Only the thread at the point waits, for as long as the campaign wants."""
    trigger.arm(FaultPoint.CATCHING_UP, passes=1, effect=TriggerEffect.BLOCK)
    held = threading.Thread(target=trigger.reach, args=(FaultPoint.CATCHING_UP, "4"))
    held.start()
    until(lambda: trigger.triggered_at() == "4", within=5, what="word of the blocked thread")
    assert held.is_alive()
    trigger.disarm()
    held.join(5)
    assert not held.is_alive()


def test_a_disarmed_trigger_does_nothing(trigger: FaultTrigger, signals: list[int]) -> None:
    """A worker that never reached the point is left alone afterwards."""
    trigger.arm(FaultPoint.BEGUN, passes=1, effect=TriggerEffect.KILL)
    trigger.disarm()
    trigger.reach(FaultPoint.BEGUN)
    assert signals == []


def test_an_instrumented_client_works_and_reaches_its_points(
    trigger: FaultTrigger, signals: list[int]
) -> None:
    """The point lies behind the call; calls without a point are the client's own."""
    client = Mock(**{"poll.return_value": 7})
    wrapped = InstrumentedClient(client, trigger, {"produce": FaultPoint.PRODUCED})
    trigger.arm(FaultPoint.PRODUCED, passes=2, effect=TriggerEffect.KILL)
    wrapped.produce("consents")
    assert (client.produce.mock_calls, signals) == ([call("consents")], [])
    wrapped.produce("decisions")
    assert client.produce.mock_calls == [call("consents"), call("decisions")]
    assert signals == [signal.SIGKILL]
    assert wrapped.poll() == 7
