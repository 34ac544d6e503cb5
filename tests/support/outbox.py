"""An outbox under test: its tables in a database, its relay as a process, what came to topics."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from izin.consent import ConsentEvent
from izin.local import free_port
from izin.local.processes import answers
from izin.producers.outbox.relay import sql
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, PHONE, usual
from tests.support.order.verdict import committed_records
from tests.support.waiting import until


def create_outbox(url: str, *more: str) -> None:
    """Create the tables, and run `more` of the files of SQL."""
    with psycopg.connect(url) as connection:
        for name in ("table", *more):
            connection.execute(sql(name))


def insert(connection: psycopg.Connection, **columns: object) -> int:
    """Insert an opt-out with these `columns`; return its id."""
    row = usual(
        columns, brand_code=BRAND, type="MESAJ", recipient=PHONE, status="RET", source="HS_WEB"
    )
    names, marks = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    statement = f"INSERT INTO izin_outbox ({names}) VALUES ({marks}) RETURNING id"
    found = connection.execute(statement.encode(), row).fetchone()
    assert found is not None
    return int(found[0])


def rows_in(url: str, table: str = "izin_outbox") -> int:
    """Return how many rows `table` has."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert found is not None
    return int(found[0])


def relayed(settings: KafkaSettings) -> list[tuple[str, ConsentEvent]]:
    """Return each event of both lanes with its topic, as often as it was written."""
    codec, topics = Codec(), (settings.topics.express.name, settings.topics.events.name)
    return [
        (topic, codec.decode_event(message.value() or b""))
        for topic in topics
        for message in committed_records(settings, topic)
    ]


class OutboxProcess:
    """`python -m izin.producers.outbox` on ports of its own."""

    def __init__(
        self, settings: KafkaSettings, url: str, log: Path | None = None, **environment: str
    ) -> None:
        self.port, self.operations_port = free_port(), free_port()
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": settings.topic_prefix,
            "IZIN_OUTBOX_DATABASE_URL": url,
            "IZIN_OUTBOX_PORT": str(self.port),
            "IZIN_OUTBOX_OPERATIONS_PORT": str(self.operations_port),
            **environment,
        }

    def start(self) -> None:
        """Start it; it may not be ready yet."""
        command = [sys.executable, "-m", "izin.producers.outbox"]
        with Path(self.log or os.devnull).open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment, stderr=log if self.log else None
            )

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run it until the context ends; it is ready then."""
        self.start()
        assert self.process is not None
        try:
            until(lambda: self.has_ended() or self.is_ready())
            assert not self.has_ended(), "the relay did not start"
            yield self.process
        finally:
            self.kill()

    def has_ended(self) -> bool:
        """Whether it ended, or never ran."""
        return self.process is None or self.process.poll() is not None

    def is_ready(self) -> bool:
        """Whether it relays."""
        return answers(f"http://127.0.0.1:{self.port}/health/ready")
