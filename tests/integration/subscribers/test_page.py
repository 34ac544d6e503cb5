"""docs/subscribing.md: its programs run as they stand there, against one broker, and agree."""

import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import NOON
from tests.support.published import TopicWriter, an_opt_out, delete_topics, key_of
from tests.support.registry import MemoryRegistry
from tests.support.subscribers import page_clients
from tests.support.subscribers.page_clients import ROOT, RunningClient, blocks
from tests.support.waiting import until

pytestmark = pytest.mark.broker

PAGE = "subscribing.md"
SENDABLE, STOPPED, ERASED, ABORTED = (key_of(one) for one in (2, 1, 3, 4))
EXPECTED = sorted(
    [
        *(f"send {one}" for one in (SENDABLE, STOPPED, ERASED)),
        *[f"stop {STOPPED}"] * 2,
        f"forget {ERASED}",
    ]
)
OF_LIBRARY = sorted(f"stop {STOPPED}" if one == f"send {STOPPED}" else one for one in EXPECTED)
"""It knows that the permission is older than the opt-out."""
Command = Callable[[Path], Sequence[str]]
_PYTHON = page_clients.python_command


@pytest.fixture(autouse=True)
def settings(unprefixed_kafka: str) -> Iterator[KafkaSettings]:
    """Yield empty topics on a broker without a topic prefix: the page has none."""
    settings = KafkaSettings(bootstrap_servers=unprefixed_kafka, partitions=3)
    ensure_topics(settings)
    yield settings
    delete_topics(settings)


def publish(writer: TopicWriter) -> None:
    """Write permissions, an opt-out, an erasure and a transaction that is aborted."""
    writer.permit(SENDABLE, STOPPED, ERASED)
    writer.erase(ERASED)
    writer.in_transaction(writer.topics.opt_outs, [(ABORTED, an_opt_out(ABORTED))], commit=False)
    writer.opt_out(STOPPED, at=NOON + timedelta(minutes=1))
    writer.deny(STOPPED)


def a_client(
    tmp_path: Path,
    name: str,
    command: Command,
    environ: Mapping[str, str],
    *,
    schemas: Path = ROOT / "izin" / "schemas" / "versions",
) -> RunningClient:
    """Start the program that the page calls ``name``, beside the module that it shares."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "schemas").symlink_to(schemas)
    for file in (name, "records.py"):
        (folder / file).write_text(blocks(PAGE)[file], encoding="utf-8")
    return RunningClient(command(folder / name), folder, environ)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("follow.py", _PYTHON),
        ("Subscriber.java", page_clients.java_command),
        ("subscriber.js", page_clients.node_command),
    ],
)
def test_plain_client_reads_and_skips_nothing(
    settings: KafkaSettings, tmp_path: Path, name: str, command: Command
):
    """From the beginning, and not what was aborted. An opt-out that only a registry's schema reads
    ends it, with the place of the record.
    """
    publish(TopicWriter(settings))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, name, command, environ) as client:
        until(lambda: len(client.lines()) >= len(EXPECTED), within=60)
        assert sorted(client.lines()) == EXPECTED
        TopicWriter(settings, Codec(MemoryRegistry())).opt_out(SENDABLE)
        until(client.has_ended, within=30)
        assert re.search(r"consent-opt-outs, partition \d, offset \d+: .*registry", client.errors())


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("follow.py", _PYTHON),
        ("Subscriber.java", page_clients.java_command),
        ("subscriber.js", page_clients.node_command),
    ],
)
def test_plain_client_without_schemas_ends_at_once(tmp_path: Path, name: str, command: Command):
    """And says what to copy; else it would end at the first record, days later."""
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with a_client(tmp_path, name, command, environ, schemas=tmp_path) as client:
        until(client.has_ended, within=30)
        assert "no schemas in the folder schemas" in client.errors()


def test_snapshot_is_taken_and_followed(settings: KafkaSettings, tmp_path: Path):
    """To its end, whatever is behind the last record; then an older consent opens no key."""
    writer = TopicWriter(settings)
    publish(writer)
    writer.in_transaction(writer.topics.opt_outs, [(ERASED, an_opt_out(ERASED, NOON))], commit=True)
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, "snapshot.py", _PYTHON, environ) as client:
        expected = [f"send {SENDABLE}", "complete"]
        until(lambda: len(client.lines()) >= 2, within=30)
        assert client.lines() == expected
        for change in (
            lambda: writer.opt_out(SENDABLE, at=NOON + timedelta(minutes=1)),
            lambda: writer.permit(SENDABLE),
            lambda: writer.permit(SENDABLE, at=NOON + timedelta(minutes=2)),
        ):
            change()
            expected.append(f"{'send' if len(expected) == 4 else 'stop'} {SENDABLE}")
            until(lambda: len(client.lines()) >= len(expected), within=30)
        assert client.lines() == expected


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


def test_both_framings_of_a_topic_are_read(settings: KafkaSettings, tmp_path: Path):
    """The registry was switched on over existing records; the library reads both too."""
    registry = MemoryRegistry()
    publish(TopicWriter(settings, Codec(registry)))
    old = key_of(5)
    TopicWriter(settings).permit(old)
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
                (stack.enter_context(a_client(tmp_path, name, _PYTHON, environ)), expected)
                for name, expected in (
                    ("snapshot.py", ["complete", f"send {SENDABLE}"]),
                    ("changes.py", OF_LIBRARY),
                )
            ]
            for client, expected in clients:
                found = sorted([*expected, f"send {old}"])
                until(lambda one=client, all_=found: len(one.lines()) >= len(all_), within=30)  # type: ignore[misc]
                assert sorted(client.lines()) == found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_list_answers_as_the_page_says(settings: KafkaSettings, tmp_path: Path):
    """The shortest program: one key, which opted out."""
    publish(TopicWriter(settings))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, "may_send.py", _PYTHON, environ) as client:
        until(lambda: bool(client.lines()), within=30)
        assert client.lines() == ["False opted-out"]


def test_stored_checkpoint_makes_each_change_count_once(settings: KafkaSettings, tmp_path: Path):
    """Over a kill: checkpoint and effect are in one transaction."""
    writer = TopicWriter(settings)
    writer.opt_out(*(key_of(one) for one in range(20)))
    environ = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers}
    with a_client(tmp_path, "stored.py", _PYTHON, environ) as client:
        until(lambda: len(client.lines()) >= 5, within=30)
    writer.opt_out(key_of(100))
    folder = tmp_path / "stored.py"
    again = RunningClient(_PYTHON(folder / "stored.py"), folder, environ)
    with again, sqlite3.connect(folder / "stops.db") as database:
        count = "SELECT count(*), max(times) FROM stops"
        until(lambda: database.execute(count).fetchone() == (21, 1), within=30)
    database.close()
