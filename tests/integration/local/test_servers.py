"""The servers together, and what is left of them when everything is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

import izin.local
from izin.local import House, PortTakenError, free_port
from tests.support.waiting import runs, until

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.timeout(240)]

ELSEWHERE = "somewhere.example.com:1"
NAMES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")
WITHOUT_OURS = {name: value for name, value in os.environ.items() if name not in NAMES}

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def run(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Run]:
    """Run `python -m izin.local start` as a process of its own."""
    argv = [sys.executable, "-m", "izin.local", "start", "--output", "json"]
    argv += ["--state-dir", str(tmp_path)]
    argv += ["--kafka-port", str(ports[0]), "--postgres-port", str(ports[1])]
    with ExitStack() as ended:

        def start(**environment: str) -> subprocess.Popen[str]:
            process = ended.enter_context(
                subprocess.Popen(
                    argv,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env={**WITHOUT_OURS, **environment},
                )
            )
            ended.callback(process.kill)
            return process

        yield start


def addresses(command: subprocess.Popen[str]) -> dict[str, str]:
    assert command.stdout is not None
    printed: dict[str, str] = json.loads(command.stdout.readline())
    return printed


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in found for child in task.read_text().split()]


def test_all_of_it_can_be_killed_and_started_again(
    run: Run, tmp_path: Path, ports: tuple[int, int]
) -> None:
    """Kill -9 leaves no orphan; the next start, on the same ports, finds what was kept."""
    command = run()
    given = addresses(command)
    admin = AdminClient({"bootstrap.servers": given["KAFKA_BOOTSTRAP_SERVERS"]})
    admin.create_topics([NewTopic("consents", 1)])["consents"].result(timeout=10)
    with psycopg.connect(given["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    servers = children(command.pid)
    assert len(servers) == 2
    command.kill()
    # At once: the next run waits for what is still dying.
    with House(tmp_path, kafka_port=ports[0], postgres_port=ports[1], environ={}) as house:
        until(lambda: not any(runs(pid) for pid in servers))
        assert house.environment() == given
        assert "consents" in admin.list_topics(timeout=10).topics
        with psycopg.connect(given["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_what_it_started(run: Run, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the servers, and the command with code 0."""
    command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE)
    addresses(command)
    servers = children(command.pid)
    command.send_signal(number)
    assert command.wait(60) == 0
    assert not any(runs(pid) for pid in servers)


def test_the_command_ends_when_a_server_does(run: Run) -> None:
    """Half a house is none: exit code 1."""
    command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE)
    assert addresses(command)["KAFKA_BOOTSTRAP_SERVERS"] == ELSEWHERE
    (server,) = children(command.pid)
    os.kill(server, signal.SIGKILL)
    assert command.wait(60) == 1


def test_the_command_tells_a_taken_port(run: Run, ports: tuple[int, int]) -> None:
    """One line on the way out that names port and setting, exit code 1, no traceback."""
    with socket.create_server(("127.0.0.1", ports[1])):
        command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE)
        _, said = command.communicate(timeout=60)
    assert command.returncode == 1
    assert f"127.0.0.1:{ports[1]}" in said
    assert "--postgres-port" in said
    assert "Traceback" not in said


def test_preparing_leaves_nothing_to_prepare() -> None:
    """What is needed is brought ahead; the second time there is nothing to do or say."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "izin.local", "prepare"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """When one server cannot start, the other is stopped and the error comes through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        house = House(tmp_path, kafka_port=listener.getsockname()[1], environ={})
        with pytest.raises(PortTakenError):
            house.start()
    assert not any(server.is_alive for server in house.servers)


def test_servers_of_the_callers_own_are_used(tmp_path: Path) -> None:
    """Whoever brings all addresses gets them back, and nothing is started."""
    given = dict.fromkeys(NAMES, ELSEWHERE)
    with House(tmp_path, registry=True, environ=given) as house:
        assert house.environment() == given
        assert house.servers == ()
    assert list(tmp_path.iterdir()) == []


def test_the_registry_comes_only_when_asked_for(tmp_path: Path) -> None:
    """Without a wish or an address there is none, and no variable that names it."""
    some = dict.fromkeys(NAMES[:2], ELSEWHERE)
    assert House(tmp_path, environ=some).environment() == some
    (only,) = House(tmp_path, registry=True, environ=some).servers
    assert only.name.startswith("Apicurio Registry")


def test_every_exported_name_is_there() -> None:
    """The surface is listed, and nothing on the list is missing."""
    assert [name for name in izin.local.__all__ if not hasattr(izin.local, name)] == []
    assert list(izin.local.__all__) == sorted(izin.local.__all__)
