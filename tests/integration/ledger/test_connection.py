"""The error of an unreachable ledger has the server's reason, at once, and no secret.

Every connection to the ledger through TLS that verifies the server, as DATABASE_URL says.
"""

import asyncio
import time
from datetime import timedelta
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from izin.cli.terminal.ledger_session import open_ledger
from izin.ledger.db import Ledger, Notifications, connection, pending
from izin.ledger.db.migrate import migrate, migrations
from izin.ledger.db.notifications import OUTBOX
from izin.ledger.record import ConcurrentChangeError, LedgerFaultError, LedgerUnavailableError
from izin.runtime.settings import LedgerSettings
from tests.support.proxy import proxy_to
from tests.support.secure import Authority, database_with_tls

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
    assert "DATABASE_URL" in str(caught.value)
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


async def test_worker_names_cause_after_waiting_for_its_server(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """The error is the server's, and not that the pool timed out."""
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)
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


def limited(url: str, seconds: float, **parts: object) -> Ledger:
    """Return a ledger whose transactions may take so long."""
    settings = LedgerSettings(
        database_url=SecretStr(make_conninfo(url, **parts)),
        transaction_limit=timedelta(seconds=seconds),
    )
    return Ledger(settings, owner=1)


async def test_silent_network_holds_up_no_worker(database_url: str):
    """The transaction ends with an error, and the next one works as soon as the network does."""
    parts = psycopg.conninfo.conninfo_to_dict(database_url)
    async with (
        proxy_to(str(parts["host"]), int(parts["port"])) as proxy,
        limited(database_url, 1, host="127.0.0.1", port=proxy.port) as ledger,
    ):
        assert await ledger.fetch("SELECT 1 AS one") == [{"one": 1}]
        proxy.silence()
        with pytest.raises(LedgerUnavailableError):
            await ledger.fetch("SELECT 2 AS two")
        proxy.resume()
        assert await ledger.fetch("SELECT 3 AS three") == [{"three": 3}]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT pg_sleep(30)", LedgerUnavailableError),
        ("SELECT pg_advisory_xact_lock(4711)", ConcurrentChangeError),
    ],
)
async def test_server_ends_what_hangs_there(
    database_url: str, statement: LiteralString, error: type[Exception]
):
    """A statement without an end, and a lock that is never freed, each with its own reason."""
    async with limited(database_url, 4) as ledger, ledger.session() as other:
        await other.execute("SELECT pg_advisory_lock(4711)")
        with pytest.raises(error):
            await ledger.fetch(statement)
        assert await ledger.fetch("SELECT 1 AS one") == [{"one": 1}]


async def test_limits_of_the_server_are_set_beside_the_options_of_the_url(database_url: str):
    """Whoever gives options of their own keeps them."""
    async with limited(database_url, 8, options="-c search_path=elsewhere") as ledger:
        names = ("search_path", "statement_timeout", "lock_timeout")
        shown = [(await ledger.fetch(f"SHOW {name}"))[0][name] for name in names]  # type: ignore[arg-type]  # fixed names
    assert shown == ["elsewhere", "6s", "2s"]


async def insert_and_fail(ledger: Ledger) -> None:
    async with ledger.transaction() as writing:
        await writing.execute("INSERT INTO fetched VALUES (1)")
        raise ZeroDivisionError


async def test_transaction_behind_a_read_that_failed_is_whole(database_url: str):
    """A read needs no transaction of ours; what writes on the same connection next has one."""
    settings = LedgerSettings(database_url=SecretStr(database_url), pool_size=1)
    async with Ledger(settings, owner=1) as ledger:
        async with ledger.transaction() as writing:
            await writing.execute("CREATE TABLE fetched (one int)")
        with pytest.raises(LedgerFaultError):
            await ledger.fetch("SELECT 1 / 0")
        sleeping = asyncio.create_task(ledger.fetch("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.2)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await insert_and_fail(ledger)
            assert await ledger.fetch("SELECT * FROM fetched") == []


async def test_every_connection_is_verified_tls(empty_database: str, authority: Authority) -> None:
    """Migrations, the pool, a session beside it and notifications; in production, too."""
    certificate = authority.issue("ledger")
    async with (
        asyncio.timeout(20),
        database_with_tls(empty_database, certificate, authority) as url,
    ):
        assert len(await pending(url)) == len(await migrate(url)) == len(migrations())
        assert await pending(url) == ()
        settings = LedgerSettings.model_validate({"DATABASE_URL": url, "IZIN_PRODUCTION": "true"})
        async with open_ledger(settings) as ledger:
            notifications = Notifications()
            listening = asyncio.create_task(notifications.listen(ledger))
            async with ledger.transaction() as pooled, ledger.session() as beside:
                assert pooled.pgconn.ssl_in_use
                assert beside.pgconn.ssl_in_use
                await notifications.wait(OUTBOX, 0, settings.transaction_limit)  # it listens
                await beside.execute(f"NOTIFY {OUTBOX}")
                await notifications.wait(OUTBOX, 1, settings.transaction_limit)
            assert notifications.count(OUTBOX) == 2
            listening.cancel()


@pytest.mark.parametrize(("host", "ended"), [("127.0.0.1", True), ("db.example.com", False)])
async def test_wrong_certificate_of_the_server_is_a_clear_error(
    database_url: str, authority: Authority, host: str, *, ended: bool
) -> None:
    """One that has ended, and one of another host."""
    certificate = authority.issue("wrong-ledger", host=host, ended=ended)
    async with database_with_tls(database_url, certificate, authority) as url:
        text = await error_of(url)
    assert "certificate" in text
    assert "sslmode and sslrootcert" in text


async def test_unknown_authority_of_the_server_is_a_clear_error(
    database_url: str, authority: Authority, stranger: Authority
) -> None:
    """And so is a file of authorities that is not there."""
    async with database_with_tls(database_url, authority.issue("ledger"), stranger) as url:
        assert "certificate verify failed" in await error_of(url)
        nowhere = await error_of(make_conninfo(url, sslrootcert="/nowhere.pem"))
        assert "/nowhere.pem" in nowhere
        assert "sslrootcert" in nowhere


async def test_plain_connection_does_not_reach_the_server(
    database_url: str, authority: Authority
) -> None:
    """Whoever asks for no TLS is not served: so what is served has it."""
    certificate = authority.issue("ledger")
    options = {"sslmode": "disable"}
    async with database_with_tls(database_url, certificate, authority, **options) as url:
        assert await error_of(url)
