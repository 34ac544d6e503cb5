"""Every connection to the ledger through TLS that verifies the server, as DATABASE_URL says."""

import asyncio

import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from izin.cli.terminal.ledger_session import open_ledger
from izin.ledger.db import Notifications, pending
from izin.ledger.db.migrate import migrate, migrations
from izin.ledger.db.notifications import OUTBOX
from izin.ledger.record import LedgerUnavailableError
from izin.runtime.settings import LedgerSettings
from tests.support.secure.certificates import Authority
from tests.support.secure.tls import database_with_tls

pytestmark = pytest.mark.database

PASSWORD = "obviously-fake"
_LIMIT = 20


@pytest.fixture
def database_url(empty_database: str) -> str:
    """Give the URL of a database to which nothing has been applied."""
    return empty_database


async def test_every_connection_is_verified_tls(database_url: str, authority: Authority) -> None:
    """Migrations, the pool, a session beside it and notifications; in production, too."""
    certificate = authority.issue("ledger")
    async with (
        asyncio.timeout(_LIMIT),
        database_with_tls(database_url, certificate, authority) as url,
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


async def error_of(url: str) -> str:
    """Return the error of a command that opens the ledger at ``url``, which has no password."""
    with pytest.raises(LedgerUnavailableError) as caught:
        async with (
            asyncio.timeout(_LIMIT),
            open_ledger(LedgerSettings(database_url=SecretStr(url))),
        ):
            pass
    text = str(caught.value)
    assert PASSWORD not in text
    assert "DATABASE_URL" in text
    return text


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
    certificate = authority.issue("ledger")
    async with database_with_tls(database_url, certificate, stranger) as url:
        assert "certificate verify failed" in await error_of(url)
        nowhere = await error_of(make_conninfo(url, sslrootcert="/nowhere.pem"))
        assert "/nowhere.pem" in nowhere
        assert "sslrootcert" in nowhere


async def test_wrong_password_through_tls_is_a_clear_error(
    database_url: str, authority: Authority
) -> None:
    """The certificate was right, and the error says what was not."""
    certificate = authority.issue("ledger")
    async with database_with_tls(database_url, certificate, authority) as url:
        text = await error_of(make_conninfo(url, password=PASSWORD))
    assert "password authentication failed" in text


async def test_plain_connection_does_not_reach_the_server(
    database_url: str, authority: Authority
) -> None:
    """Whoever asks for no TLS is not served: so what is served has it."""
    certificate = authority.issue("ledger")
    options = {"sslmode": "disable"}
    async with database_with_tls(database_url, certificate, authority, **options) as url:
        assert await error_of(url)
