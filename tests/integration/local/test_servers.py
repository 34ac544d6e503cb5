"""The servers together, and that nothing is left of them when everything is killed.

A real broker: how it starts, and why it does not.
"""

import socket
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource
from typer.testing import CliRunner

import izin.local
from izin.cli.cli import app
from izin.local import Kafka, LocalServers, PortTakenError, StartError
from izin.local.java import java_at_least
from izin.local.kafka import JAVA

pytestmark = [pytest.mark.broker, pytest.mark.database]

ELSEWHERE = "somewhere.example.com:1"
NAMES = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")


def test_download_twice_downloads_nothing_more() -> None:
    """The first downloads what is needed; the second has nothing to do or report."""
    for _ in range(2):
        done = CliRunner().invoke(app, ["download"], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "")


def test_servers_start_failed_stops_the_others(tmp_path: Path) -> None:
    """When one server cannot start, the other is stopped; the error names port and setting, and
    Java was not started.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        local = LocalServers(tmp_path, kafka_port=port, environ={})
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port}.*--port kafka=NUMBER"):
            local.start()
    assert not any(server.is_alive for server in local.servers)
    assert local.kafka is not None
    assert local.kafka.pid is None


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


def has_own_archive() -> bool:
    return (java_at_least(JAVA).resolve().parents[1] / "lib" / "server" / "classes.jsa").exists()


def test_kafka_after_an_interrupted_format_starts(tmp_path: Path) -> None:
    """Half-formatted storage of a killed run does not prevent the next.

    It listens on 127.0.0.1 only, creates no topic by itself, and maps the archive of its classes.
    """
    data = tmp_path / "kafka" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\ncluster.i")
    with Kafka(tmp_path) as server:
        assert ".jsa" in Path(f"/proc/{server.pid}/maps").read_text() or not has_own_archive()
        admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
        resource = ConfigResource(ConfigResource.Type.BROKER, "1")
        settings = admin.describe_configs([resource])[resource].result(timeout=10)
    listeners = str(settings["listeners"].value).split(",")
    assert all("//127.0.0.1:" in listener for listener in listeners)
    assert settings["auto.create.topics.enable"].value == "false"


def test_kafka_that_cannot_start_quotes_java(tmp_path: Path) -> None:
    """Java.s own message is in the error."""
    with pytest.raises(StartError, match="Invalid maximum heap size"):
        Kafka(tmp_path, heap="much").start()


def test_kafka_address_before_the_start_is_an_error(tmp_path: Path) -> None:
    """Asking too early is a bug, and an error."""
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = Kafka(tmp_path).bootstrap_servers


def test_exported_names_exist() -> None:
    """Nothing on the list of public names is missing; ruff sorts it."""
    assert [name for name in izin.local.__all__ if not hasattr(izin.local, name)] == []
