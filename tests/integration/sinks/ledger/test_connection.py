"""Why the ledger's server cannot be reached is told by the server, at once, and without secrets."""

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


async def said_of(url: str) -> str:
    """Return what a command that opens the ledger at ``url`` says."""
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError) as told:
        async with open_ledger(LedgerSettings(database_url=SecretStr(url))):
            pass
    assert time.monotonic() - began < 5
    assert PASSWORD not in str(told.value)
    assert "\n" not in str(told.value)
    return str(told.value)


async def test_a_wrong_password_and_a_wrong_database_are_told_apart(database_url: str):
    """In the server's own words, with who and what."""
    user = psycopg.conninfo.conninfo_to_dict(database_url)["user"]
    wrong = await said_of(make_conninfo(database_url, password=PASSWORD))
    assert f'password authentication failed for user "{user}"' in wrong
    assert 'database "elsewhere" does not exist' in await said_of(
        make_conninfo(database_url, dbname="elsewhere", connect_timeout=3)
    )


async def test_a_server_that_is_not_there_is_told_with_its_place():
    """Host and port, for one of them may be wrong."""
    told = await said_of(f"postgresql://izin:{PASSWORD}@127.0.0.1:1/izin")
    assert 'server at "127.0.0.1", port 1 failed' in told
    assert "DATABASE_URL" in told


async def test_a_worker_waits_for_its_server_and_then_tells_why(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """One that is starting would have come; the cause is told, not that the pool has waited."""
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
async def test_what_is_no_url_is_told_without_quoting_it(url: str):
    """Cut in the wrong place, a password would be told as a host."""
    assert "DATABASE_URL is no PostgreSQL URL" in await said_of(url)
