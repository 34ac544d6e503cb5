"""A real broker: how it starts, and why it does not."""

import socket
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from izin.local import Kafka, PortTakenError
from izin.local.errors import StartError
from izin.local.java import java_at_least
from izin.local.kafka import JAVA

pytestmark = [pytest.mark.broker, pytest.mark.timeout(240)]


def has_own_archive() -> bool:
    home = java_at_least(JAVA).resolve().parents[1]
    return (home / "lib" / "server" / "classes.jsa").exists()


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


def test_kafka_on_a_taken_port_fails_before_java_starts(tmp_path: Path) -> None:
    """The error names the port and the setting; nothing is locked or left running."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = Kafka(tmp_path, port)
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port}.*--port kafka=NUMBER"):
            server.start()
    assert server.pid is None


def test_kafka_that_cannot_start_quotes_java(tmp_path: Path) -> None:
    """Java.s own message is in the error."""
    with pytest.raises(StartError, match="Invalid maximum heap size"):
        Kafka(tmp_path, heap="much").start()


def test_kafka_address_before_the_start_is_an_error(tmp_path: Path) -> None:
    """Asking too early is a bug, and an error."""
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = Kafka(tmp_path).bootstrap_servers
