"""docs/subscribing.md: its programs run as they stand there, against one broker, and agree."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.support.builders import NOON
from tests.support.registry import MemoryRegistry
from tests.support.subscribers import page_clients
from tests.support.subscribers.page_clients import ROOT, RunningClient, blocks
from tests.support.subscribers.published import TopicWriter, an_opt_out, key_of
from tests.support.topics import delete_topics
from tests.support.waiting import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PAGE = "subscribing.md"
SENDABLE, STOPPED, ERASED, ABORTED = (key_of(one) for one in (2, 1, 3, 4))
EXPECTED = sorted(
    [
        *(f"send {one}" for one in (SENDABLE, STOPPED, ERASED)),
        *[f"stop {STOPPED}"] * 2,
        f"forget {ERASED}",
    ]
)
Command = Callable[[Path], Sequence[str]]


@pytest.fixture(scope="module")
def settings(unprefixed_kafka: str) -> KafkaSettings:
    """Return settings of a broker without a topic prefix: the page has none."""
    return KafkaSettings(bootstrap_servers=unprefixed_kafka, partitions=3)


@pytest.fixture(autouse=True)
def topics(settings: KafkaSettings) -> Iterator[Topics]:
    """Yield empty topics."""
    ensure_topics(settings)
    yield settings.topics
    delete_topics(settings)


def publish(writer: TopicWriter) -> None:
    """Write permissions, an opt-out, an erasure and a transaction that is aborted."""
    writer.permit(SENDABLE, STOPPED, ERASED)
    writer.erase(ERASED)
    writer.in_transaction(writer.topics.opt_outs, [(ABORTED, an_opt_out(ABORTED))], commit=False)
    writer.opt_out(STOPPED, at=NOON + timedelta(minutes=1))
    writer.deny(STOPPED)


def a_client(
    tmp_path: Path, name: str, command: Command, environ: Mapping[str, str]
) -> RunningClient:
    """Start the program that the page calls ``name``."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "schemas").symlink_to(ROOT / "izin" / "schemas" / "versions")
    (folder / name).write_text(blocks(PAGE)[name], encoding="utf-8")
    return RunningClient(command(folder / name), folder, environ)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("changes.py", page_clients.python_command),
        ("plain.py", page_clients.python_command),
        ("Subscriber.java", page_clients.java_command),
        ("subscriber.js", page_clients.node_command),
    ],
)
def test_client_prints_what_the_others_print(
    settings: KafkaSettings, tmp_path: Path, name: str, command: Command
):
    """Without a registry, from the beginning; what was aborted is not read."""
    publish(TopicWriter(settings))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, name, command, environ) as client:
        until(lambda: len(client.lines()) >= len(EXPECTED), within=60)
        assert sorted(client.lines()) == EXPECTED


class _Registry(BaseHTTPRequestHandler):
    """Answers the one request of the page's client."""

    schemas: Mapping[int, object]

    def do_GET(self) -> None:
        schema = self.schemas[int(self.path.removeprefix("/schemas/ids/"))]
        body = json.dumps({"schema": json.dumps(schema)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing to standard error."""


def test_client_with_a_registry_prints_the_same(settings: KafkaSettings, tmp_path: Path):
    """The other framing, and schemas by their ids; the library reads it too."""
    registry = MemoryRegistry()
    publish(TopicWriter(settings, Codec(registry)))
    handler = type("Registry", (_Registry,), {"schemas": registry.schemas})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{server.server_port}",
    }
    try:
        with ExitStack() as stack:
            clients = [
                stack.enter_context(a_client(tmp_path, name, page_clients.python_command, environ))
                for name in ("registry.py", "changes.py")
            ]
            for client in clients:
                until(lambda one=client: len(one.lines()) >= len(EXPECTED), within=30)  # type: ignore[misc]
                assert sorted(client.lines()) == EXPECTED
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_list_answers_as_the_page_says(settings: KafkaSettings, tmp_path: Path):
    """The shortest program: one key, which opted out."""
    publish(TopicWriter(settings))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, "may_send.py", page_clients.python_command, environ) as client:
        until(lambda: bool(client.lines()), within=30)
        assert client.lines() == ["False opted-out"]


def test_stored_checkpoint_makes_each_change_count_once(settings: KafkaSettings, tmp_path: Path):
    """Over a kill: checkpoint and effect are in one transaction."""
    writer = TopicWriter(settings)
    writer.opt_out(*(key_of(one) for one in range(20)))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, "stored.py", page_clients.python_command, environ) as client:
        until(lambda: len(client.lines()) >= 5, within=30)
    writer.opt_out(key_of(100))
    folder = tmp_path / "stored.py"
    again = RunningClient(page_clients.python_command(folder / "stored.py"), folder, environ)
    with again, sqlite3.connect(folder / "stops.db") as database:
        count = "SELECT count(*), max(times) FROM stops"
        until(lambda: database.execute(count).fetchone() == (21, 1), within=30)
    database.close()
