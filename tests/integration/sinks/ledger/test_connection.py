"""The error of an unreachable ledger has the server's reason, at once, and no secret."""

import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from izin.console.terminal.ledger_session import open_ledger
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db import connection
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.errors import LedgerUnavailableError

pytestmark = pytest.mark.database

PASSWORD = "not-this-one"


async def error_of(url: str) -> str:
    """Return the error of a command that opens the ledger at ``url``."""
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError) as caught:
        async with open_ledger(LedgerSettings(database_url=SecretStr(url))):
            pass
    assert time.monotonic() - began < 5
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_wrong_password_and_wrong_database_are_distinguished(database_url: str):
    """The error has the server's own words, with the user and the database."""
    user = psycopg.conninfo.conninfo_to_dict(database_url)["user"]
    wrong = await error_of(make_conninfo(database_url, password=PASSWORD))
    assert f'password authentication failed for user "{user}"' in wrong
    assert 'database "elsewhere" does not exist' in await error_of(
        make_conninfo(database_url, dbname="elsewhere", connect_timeout=3)
    )


async def test_unreachable_server_is_named_with_host_and_port():
    """Either may be wrong."""
    error = await error_of(f"postgresql://izin:{PASSWORD}@127.0.0.1:1/izin")
    assert 'server at "127.0.0.1", port 1 failed' in error
    assert "DATABASE_URL" in error


async def test_worker_names_cause_after_waiting_for_its_server(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """The error is the server's, and not that the pool timed out."""
    monkeypatch.setattr(connection, "_CONNECT_TIMEOUT", 1.0)
    wrong = SecretStr(make_conninfo(database_url, password=PASSWORD))
    with pytest.raises(LedgerUnavailableError, match="password authentication failed"):
        async with Ledger(LedgerSettings(database_url=wrong), owner=1):
            pass


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        f"postgres//izin:{PASSWORD}@127.0.0.1/izin",
        f"postgresql://izin:a@{PASSWORD}@127.0.0.1/izin",
        f"postgresql://izin:1/{PASSWORD}@127.0.0.1/izin",
    ],
)
async def test_malformed_url_is_not_quoted(url: str):
    """Cut in the wrong place, a password would be shown as a host."""
    assert "DATABASE_URL is not a PostgreSQL URL" in await error_of(url)
