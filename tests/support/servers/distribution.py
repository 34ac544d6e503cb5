"""What the processes of one run share (``pytest -n``): a broker, and who runs which tests.

A server's start takes seconds of CPU. So the process that distributes the tests has the broker of
all, and tests of another server run one after the other in one process.
"""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from xdist.scheduler import LoadFileScheduling

from izin.local import Kafka, LocalError, Postgres

_AT_ONCE = 16
"""How many processes may ask at one instant."""
_TOGETHER: Mapping[str, Sequence[str]] = {
    "secure_kafka": (
        "tests/e2e/test_secure_demo.py",
        "tests/integration/cli/test_secure_doctor.py",
        "tests/integration/runtime/test_secure_kafka.py",
        "tests/integration/sinks/test_secure_worker.py",
    ),
    "registry": (
        "tests/contract/schemas/test_contracts.py",
        "tests/e2e/test_connect.py",
        "tests/integration/local/test_registry.py",
        "tests/integration/producers/library/test_publishing_page.py",
        "tests/integration/subscribers/test_page.py",
    ),
}
"""The files whose tests run in one process, and the fixture for which they do. Those that use the
broker without a prefix are among those of the registry: they may not run at the same time.
"""
_FIXTURES = {"secure_kafka": "secure_kafka", "registry": "registry", "unprefixed_kafka": "registry"}
_GROUPS = {file: name for name, files in _TOGETHER.items() for file in files}


class SharedBroker:
    """A broker that starts when the first process asks for it; ``address`` is where to ask."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(
            prefix="izin-", dir=memory_folder(), ignore_cleanup_errors=True
        )
        self.address = f"{self._folder.name}/broker"
        self._kafka = Kafka(Path(self._folder.name))
        self._listener = Listener(self.address, backlog=_AT_ONCE)
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            # A process that ends while it asks takes no broker from the others.
            with suppress(EOFError, OSError), self._listener.accept() as connection:
                if connection.recv() is None:
                    return
                try:
                    self._kafka.start()
                    connection.send((self._kafka.bootstrap_servers, None))
                except LocalError as error:
                    connection.send((None, str(error)))

    def stop(self) -> None:
        """Stop the broker, where one was started."""
        with Client(self.address) as connection:
            connection.send(None)
        self._thread.join()
        self._listener.close()
        self._kafka.stop()
        self._folder.cleanup()


def shared_broker(address: str) -> str:
    """Return the bootstrap servers of the broker of all, asked for at ``address``.

    Raises:
        LocalError: It cannot start.
    """
    with Client(address) as connection:
        connection.send("start")
        servers, error = connection.recv()
    if error is not None:
        raise LocalError(error)
    return str(servers)


class ServerScheduling(LoadFileScheduling):
    """Each file runs in one process, and so do the files that share a server."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return _GROUPS.get(file, file)


def require_listed(file: str, fixtures: Collection[str]) -> None:
    """Raise UsageError where a test of ``file`` uses a server that others of its process have
    not.
    """
    wanted = {group for fixture, group in _FIXTURES.items() if fixture in fixtures}
    if wanted - {_GROUPS.get(file)}:
        name = Path(__file__).name
        raise pytest.UsageError(f"{file} uses {', '.join(sorted(wanted))}: list it in {name}")


_MEMORY = Path("/dev/shm")
_ENOUGH = 6 * 1024**3
"""More than all servers of a run write there."""


def memory_folder() -> Path | None:
    """Return a folder in memory, None where there is none, or where it has too little room.

    Most of the CPU that a new database takes is the file system's, for a ledger has hundreds of
    files; in memory it takes a tenth.
    """
    try:
        free = shutil.disk_usage(_MEMORY).free
    except OSError:
        return None
    return _MEMORY if free > _ENOUGH and os.access(_MEMORY, os.W_OK) else None


def copy_database(url: str, name: str, template: str = "template0") -> str:
    """Create the database `name` as a copy of `template`; return its URL.

    File by file, which takes half the CPU where nothing is flushed: through the log every page is
    written twice.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def drop_database(url: str, name: str) -> None:
    """Drop the database `name` on the server of `url` if it exists, ending its connections."""
    with psycopg.connect(url, autocommit=True) as connection:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(statement.format(sql.Identifier(name)))


class ForgetfulPostgres(Postgres):
    """A server that never waits for the disk, and keeps little of its log.

    It is not restarted: a crash of the machine, which alone would lose data, ends the tests too.
    """

    def _settings(self, port: int) -> Mapping[str, object]:
        return {
            **super()._settings(port),
            "fsync": "off",
            "full_page_writes": "off",
            "max_wal_size": "256MB",
            "shared_buffers": "128MB",
        }
