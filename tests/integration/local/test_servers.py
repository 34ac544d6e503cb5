"""The servers together, and that nothing is left of them when everything is killed."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

import izin.local
from izin.cli.cli import app
from izin.local import LocalServers, PortTakenError

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.timeout(240)]

ELSEWHERE = "somewhere.example.com:1"
NAMES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")


def test_download_twice_downloads_nothing_more() -> None:
    """The first downloads what is needed; the second has nothing to do or report."""
    for _ in range(2):
        done = CliRunner().invoke(app, ["download"], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")


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
