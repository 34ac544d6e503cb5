"""The servers together, and that nothing is left of them when everything is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

import izin.local
from izin.local import LocalServers, PortTakenError, Supervisor, free_port
from tests.support.waiting import runs, until

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.timeout(240)]

ELSEWHERE = "somewhere.example.com:1"
NAMES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")
WITHOUT_OURS = {name: value for name, value in os.environ.items() if name not in NAMES}

STARTED = """
import json, sys, time
from pathlib import Path
from izin.local import LocalServers
with LocalServers(
    Path(sys.argv[1]), kafka_port=int(sys.argv[2]), postgres_port=int(sys.argv[3]), environ={}
) as servers:
    print(json.dumps(servers.environment()), flush=True)
    time.sleep(600)
"""
"""A program that starts the servers, and is killed."""


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in found for child in task.read_text().split()]


def test_servers_killed_leave_no_orphan_and_keep_data(
    tmp_path: Path, ports: tuple[int, int]
) -> None:
    """Kill -9 leaves no orphan; the next start, on the same ports, finds what was stored."""
    argv = [sys.executable, "-c", STARTED, str(tmp_path), *map(str, ports)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        given = json.loads(program.stdout.readline())
        admin = AdminClient({"bootstrap.servers": given["KAFKA_BOOTSTRAP_SERVERS"]})
        admin.create_topics([NewTopic("consents", 1)])["consents"].result(timeout=10)
        with psycopg.connect(given["DATABASE_URL"]) as connection:
            connection.execute("CREATE TABLE stored AS SELECT 1 AS n")
        servers = children(program.pid)
        assert len(servers) == 2
        program.kill()
    # At once: the next run waits for servers that are still ending.
    with LocalServers(tmp_path, kafka_port=ports[0], postgres_port=ports[1], environ={}) as local:
        until(lambda: not any(runs(pid) for pid in servers))
        assert local.environment() == given
        assert "consents" in admin.list_topics(timeout=10).topics
        with psycopg.connect(given["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT n FROM stored").fetchone() == (1,)


def test_servers_kept_up_answer_again_on_their_ports(tmp_path: Path) -> None:
    """Each server killed by its process id comes back on its port with what was stored."""
    events: list[str] = []
    supervisor = Supervisor(on_event=events.append)
    with LocalServers(tmp_path, environ={}) as local, supervisor:
        given = local.environment()
        admin = AdminClient({"bootstrap.servers": given["KAFKA_BOOTSTRAP_SERVERS"]})
        admin.create_topics([NewTopic("consents", 1)])["consents"].result(timeout=10)
        with psycopg.connect(given["DATABASE_URL"]) as connection:
            connection.execute("CREATE TABLE stored AS SELECT 1 AS n")
        local.keep_up(supervisor)
        for server in local.servers:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        until(lambda: is_answered(given["DATABASE_URL"]), within=60)
        assert "consents" in admin.list_topics(timeout=60).topics
        assert local.environment() == given
    assert sorted(event.split(";")[0] for event in events) == [
        f"{name} ended with exit code -9" for name in sorted(one.name for one in local.servers)
    ]


def is_answered(url: str) -> bool:
    """Return whether the table of an earlier run can be read."""
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT n FROM stored").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_download_twice_downloads_nothing_more() -> None:
    """The first downloads what is needed; the second has nothing to do or report."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "izin.console", "download"],
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
    given, said = dict.fromkeys(NAMES, ELSEWHERE), list[str]()
    with LocalServers(tmp_path, registry=True, environ=given, on_progress=said.append) as local:
        assert local.environment() == given
        assert local.servers == ()
    assert [line.split(" is not")[0] for line in said] == [
        *("Kafka", "PostgreSQL", "the schema registry")
    ]
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
