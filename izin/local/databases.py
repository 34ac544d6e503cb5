"""Create and drop databases on any PostgreSQL server, ours or a caller's."""

from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from izin.local.errors import LocalError


def create_database(url: str, name: str, *, template: str = "template0") -> str:
    """Create the database `name` on the server of `url`; return the URL of the new one.

    It is empty, or a copy of the database `template`, to which nobody may be connected.

    Raises:
        psycopg.errors.DuplicateDatabase: There is one of that name.
        psycopg.OperationalError: The server cannot be reached.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        # By default not from template1, which others may be connected to.
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def ensure_database(url: str, name: str) -> str:
    """Create the database `name` on the server of `url` unless it is there; return its URL.

    Raises:
        LocalError: The server cannot be reached, or refuses; with its words and no password.
    """
    try:
        if not has_database(url, name):
            return create_database(url, name)
    except psycopg.Error as error:
        raise LocalError(_why(error)) from None  # psycopg quotes what it takes for no URL
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _why(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return (
            "DATABASE_URL is not a PostgreSQL URL such as postgresql://user:password@host:5432/name"
        )
    first, *_ = (str(error) or type(error).__name__).splitlines()
    return (
        f"PostgreSQL refuses a database of this run: {first}; is it running, and is DATABASE_URL "
        "right, also its sslmode and sslrootcert?"
    )


def drop_database(url: str, name: str) -> None:
    """Drop the database `name` on the server of `url` if it exists, ending its connections."""
    with psycopg.connect(url, autocommit=True) as connection:
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(statement.format(sql.Identifier(name)))


def has_database(url: str, name: str) -> bool:
    """Return whether the server of `url` has the database `name`."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return found.fetchone() is not None
