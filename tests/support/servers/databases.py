"""The database server that the tests share, and where its data is."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from izin.local import Postgres

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
