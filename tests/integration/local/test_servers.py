"""The servers together, and that nothing is left of them when everything is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import izin.local
from izin.local import LocalServers, PortTakenError, free_port
from tests.support.waiting import runs

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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_command_on_a_signal_stops_the_servers(run: Run, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the servers, and the command with code 0. It has said what it did not
    start: Kafka, which the environment names.
    """
    command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE)
    addresses(command)
    servers = children(command.pid)
    assert len(servers) == 1
    command.send_signal(number)
    _, printed = command.communicate(timeout=60)
    assert command.returncode == 0
    assert not any(runs(pid) for pid in servers)
    lines = [line for line in printed.splitlines() if "is not started" in line]
    assert [line.split(",")[0] for line in lines] == [
        "Kafka is not started here: KAFKA_BOOTSTRAP_SERVERS names one"
    ]


def test_start_command_ends_when_a_server_ends(run: Run) -> None:
    """Some servers without the others are of no use: exit code 1."""
    command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE)
    assert addresses(command)["KAFKA_BOOTSTRAP_SERVERS"] == ELSEWHERE
    (server,) = children(command.pid)
    os.kill(server, signal.SIGKILL)
    assert command.wait(60) == 1


def test_start_command_with_nothing_to_start_is_wrong_usage(run: Run) -> None:
    """The environment names every server: the command says so, and does not wait for ever."""
    command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE, DATABASE_URL="postgresql://example.com/x")
    printed, messages = command.communicate(timeout=60)
    assert command.returncode == 2
    assert printed == ""
    assert "KAFKA_BOOTSTRAP_SERVERS" in messages
    assert "DATABASE_URL" in messages


def test_start_command_on_a_taken_port_names_it(run: Run, ports: tuple[int, int]) -> None:
    """One line that names port and setting, exit code 1, no traceback."""
    with socket.create_server(("127.0.0.1", ports[1])):
        command = run(KAFKA_BOOTSTRAP_SERVERS=ELSEWHERE)
        _, printed = command.communicate(timeout=60)
    assert command.returncode == 1
    assert f"127.0.0.1:{ports[1]}" in printed
    assert "--postgres-port" in printed
    assert "Traceback" not in printed


def test_prepare_twice_downloads_nothing_more() -> None:
    """The first downloads what is needed; the second has nothing to do or report."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "izin.local", "prepare"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert (done.stdout, done.stderr) == ("", "")


def test_servers_start_failed_stops_the_others(tmp_path: Path) -> None:
    """When one server cannot start, the other is stopped and the error comes through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        local = LocalServers(tmp_path, kafka_port=listener.getsockname()[1], environ={})
        with pytest.raises(PortTakenError):
            local.start()
    assert not any(server.is_alive for server in local.servers)


def test_servers_given_by_the_environment_are_not_started(tmp_path: Path) -> None:
    """Addresses of all servers are used as they are, and nothing is started."""
    given = dict.fromkeys(NAMES, ELSEWHERE)
    with LocalServers(tmp_path, registry=True, environ=given) as local:
        assert local.environment() == given
        assert local.servers == ()
    assert list(tmp_path.iterdir()) == []


def test_registry_starts_only_when_asked_for(tmp_path: Path) -> None:
    """Without the option or an address there is none, and no variable that names it."""
    some = dict.fromkeys(NAMES[:2], ELSEWHERE)
    assert LocalServers(tmp_path, environ=some).environment() == some
    (only,) = LocalServers(tmp_path, registry=True, environ=some).servers
    assert only.name.startswith("Apicurio Registry")


def test_exported_names_exist() -> None:
    """The public names are listed, sorted, and nothing on the list is missing."""
    assert [name for name in izin.local.__all__ if not hasattr(izin.local, name)] == []
    assert list(izin.local.__all__) == sorted(izin.local.__all__)
