"""The error of an unreachable ledger has the server's reason, at once, and no secret.

Every connection to the ledger through TLS that verifies the server, as DATABASE_URL says.
Migrations run in order, each once, and never after a contradiction.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from benchmarks.sink.fixture import sink_fixture
from izin.cli.terminal.ledger_session import open_ledger
from izin.ledger.db import Ledger, Notifications, connection, migrate as module, pending
from izin.ledger.db.migrate import Patience, migrate, migrations
from izin.ledger.db.notifications import OUTBOX
from izin.ledger.record import (
    ConcurrentChangeError,
    LedgerFaultError,
    LedgerUnavailableError,
    MigrationError,
)
from izin.runtime.backoff import Backoff
from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.integration.sinks.sink_harness import until
from tests.support.proxy import proxy_to
from tests.support.secure import Authority, database_with_tls

pytestmark = pytest.mark.database

PASSWORD = "not-this-one"


async def error_of(url: str) -> str:
    """Return the error of a command that opens the ledger at ``url``."""
    with pytest.raises(LedgerUnavailableError) as caught:
        async with open_ledger(LedgerSettings(database_url=SecretStr(url))):
            pass
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


async def test_rows_are_read_for_longer_than_a_transaction_may_take(database_url: str):
    """A history of many rows is verified for minutes; whoever works on a page holds up nobody."""
    found: list[int] = []
    async with limited(database_url, 1) as ledger:
        async for page in ledger.pages("SELECT generate_series(1, 5) AS one", size=2):
            found += [row["one"] for row in page]
            await asyncio.sleep(0.6)
    assert found == [1, 2, 3, 4, 5]


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


MILLISECOND = timedelta(milliseconds=1)
HASTY = Patience(
    lock_timeout=100 * MILLISECOND,
    attempts=3,
    backoff=Backoff(MILLISECOND, 10 * MILLISECOND),
)
PATIENT = Patience(
    lock_timeout=HASTY.lock_timeout,
    attempts=1000,
    backoff=Backoff(20 * MILLISECOND, 20 * MILLISECOND),
)
SCHEMA = resources.files("izin.ledger") / "migrations"
IS_VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('t_a')"
A_WRITE = """WITH changed AS (
        UPDATE consents SET updated_at = now() WHERE key = %(key)s RETURNING customer_id)
    INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
    SELECT customer_id, 'topic', 'key', '', '{}', now() FROM changed"""


@asynccontextmanager
async def transaction(url: str, statement: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Give a session whose transaction has run ``statement``, rolled back at the end."""
    async with await psycopg.AsyncConnection.connect(url, application_name="a report") as one:
        await one.execute(statement.encode())
        yield one
        await one.rollback()


async def rows_of(url: str, query: str) -> list[Any]:
    """Return the rows of a query."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await (await connection.execute(query.encode())).fetchall()


@pytest.fixture
def database_url(empty_database: str) -> str:
    """Give the URL of a database to which nothing has been applied."""
    return empty_database


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a release of two migrations, of which the second needs the first."""
    (tmp_path / "0002_column.sql").write_text("ALTER TABLE t ADD COLUMN a text")
    (tmp_path / "0001_table.sql").write_text("CREATE TABLE t ()")
    monkeypatch.setattr("izin.ledger.db.migrate.FOLDER", tmp_path)
    return tmp_path


async def test_migrate_empty_ledger_applies_the_schema_once(database_url: str):
    """An empty ledger lacks everything; a second run has nothing to do."""
    everything = await pending(database_url)
    assert everything
    assert await migrate(database_url) == everything
    assert await migrate(database_url) == ()
    assert await pending(database_url) == ()


async def test_migrate_later_release_applies_only_what_is_new(database_url: str, folder: Path):
    """Files run in the order of their names, and the next release adds one."""
    assert await migrate(database_url) == ("0001_table", "0002_column")
    (folder / "0003_type.sql").write_text("ALTER TABLE t ALTER COLUMN a SET NOT NULL")
    assert await pending(database_url) == ("0003_type",)
    assert await migrate(database_url) == ("0003_type",)


@pytest.mark.parametrize("is_known", [True, False], ids=["changed", "of-a-later-release"])
async def test_migrate_over_another_history_is_refused(
    database_url: str, folder: Path, *, is_known: bool
):
    """What has run is never changed afterwards; and an older release does not write to a schema
    that it does not know.
    """
    await migrate(database_url)
    file = folder / "0002_column.sql"
    if is_known:
        file.write_text("ALTER TABLE t ADD COLUMN b text")
    else:
        file.unlink()
    what = "was changed" if is_known else "which this release does not know"
    for command in (migrate, pending):
        with pytest.raises(MigrationError, match=f"0002_column.* {what}"):
            await command(database_url)


async def test_migrate_cut_off_resumes_after_the_last_one_that_ran(database_url: str, folder: Path):
    """Each has a transaction of its own: one that fails takes none before it along."""
    later = folder / "0003_more.sql"
    later.write_text("ALTER TABLE t ADD COLUMN b text; SELECT 1 / 0")
    with pytest.raises(MigrationError, match=r"0003_more failed: division by zero \(22012\)"):
        await migrate(database_url)
    assert await pending(database_url) == ("0003_more",)
    later.write_text("ALTER TABLE t ADD COLUMN b text")
    assert await migrate(database_url) == ("0003_more",)


async def test_migrate_that_gets_no_lock_names_who_has_it(database_url: str, folder: Path):
    """It gives up after its attempts, and the ledger is as before."""
    kept = folder / "0002_column.sql"
    kept.rename(folder / "kept")
    await migrate(database_url)
    (folder / "kept").rename(kept)
    async with transaction(database_url, "LOCK TABLE t IN ACCESS SHARE MODE") as blocker:
        pid = blocker.info.backend_pid
        with pytest.raises(MigrationError, match=f"0002_column .* 3 attempts.* {pid} .*a report"):
            await migrate(database_url, HASTY)
        assert await pending(database_url) == ("0002_column",)
    assert await migrate(database_url, HASTY) == ("0002_column",)


async def test_migrate_a_loaded_ledger_lets_writers_go_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While a report keeps a migration from its lock, writers wait for each try and no longer."""
    shutil.copytree(str(SCHEMA), tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    async with sink_fixture(database_url, KafkaSettings(), keys=20_000):
        (tmp_path / "9001_column.sql").write_text("ALTER TABLE consents ADD COLUMN a text")
        (tmp_path / "9002_index.sql").write_text(
            "-- Runs outside a transaction.\n"
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS consents_a ON consents (a)"
        )
        keys = [key for (key,) in await rows_of(database_url, "SELECT key FROM consents LIMIT 50")]
        written: Counter[int] = Counter()
        writers = [
            asyncio.create_task(write(database_url, keys[one::3], written, one)) for one in range(3)
        ]
        async with transaction(database_url, "LOCK TABLE consents IN ACCESS SHARE MODE") as report:
            migrating = asyncio.create_task(migrate(database_url, PATIENT))
            for _ in range(3):
                await until(lambda: is_waiting(database_url))
                await more_writes(writers, written)
            await report.commit()
        assert await asyncio.wait_for(migrating, 60) == ("9001_column", "9002_index")
        await more_writes(writers, written)
        for one in writers:
            one.cancel()
        assert [type(one) for one in await asyncio.gather(*writers, return_exceptions=True)] == [
            asyncio.CancelledError
        ] * 3


async def write(url: str, keys: list[str], written: Counter[int], number: int) -> None:
    """Write on and on; fail if a lock is waited for much longer than one try of a migration."""
    limit = PATIENT.lock_timeout * 10 // MILLISECOND
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, options=f"-c lock_timeout={limit}"
    ) as connection:
        for turn in count():
            await connection.execute(A_WRITE, {"key": keys[turn % len(keys)]})
            written[number] += 1


async def more_writes(writers: list[asyncio.Task[None]], written: Counter[int]) -> None:
    """Return when thirty more are done; fail if a writer has ended."""
    total = written.total() + 30

    def are_done() -> bool:
        for one in writers:
            assert not one.done(), one.exception()
        return written.total() >= total

    await until(are_done)


async def is_waiting(url: str) -> bool:
    """Whether a migration waits for its lock."""
    waiting = "SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    return bool(await rows_of(url, waiting))


async def test_migrate_index_that_a_cut_off_left_invalid_is_made_again(
    database_url: str, folder: Path
):
    """PostgreSQL keeps what it could not finish, and IF NOT EXISTS takes it for the index."""
    await migrate(database_url)
    (folder / "0003_index.sql").write_text(
        "-- Runs outside a transaction.\n"
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)"
    )
    await rows_of(database_url, "INSERT INTO t (a) VALUES ('x'), ('x') RETURNING a")
    with pytest.raises(MigrationError, match=r"failed: could not create unique index .* \(23505\)"):
        await migrate(database_url)
    assert await rows_of(database_url, IS_VALID) == [(False,)]
    await rows_of(database_url, "DELETE FROM t RETURNING a")
    assert await migrate(database_url) == ("0003_index",)
    assert await rows_of(database_url, IS_VALID) == [(True,)]


async def test_migrate_two_processes_build_an_index_once(database_url: str, folder: Path):
    """The second waits without a snapshot, for which building the index would wait in turn."""
    (folder / "0003_index.sql").write_text(
        "-- Runs outside a transaction.\nCREATE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)"
    )
    applied = await asyncio.gather(*(migrate(database_url) for _ in range(3)))
    assert sorted(applied) == [(), (), ("0001_table", "0002_column", "0003_index")]


async def test_migrate_index_of_the_history_is_built_month_by_month(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No index of a partitioned table can be built beside writers; each month has its own."""
    shutil.copytree(str(SCHEMA), tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    await migrate(database_url)
    await rows_of(database_url, "SELECT create_month('2026-01-31'), create_month('2026-02-01')")
    (tmp_path / "9001_event.sql").write_text(
        "-- Runs outside a transaction.\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS {month}_event ON {month} (event_id)"
    )
    assert await migrate(database_url) == ("9001_event",)
    found = "SELECT indexname FROM pg_indexes WHERE indexname LIKE '%event' ORDER BY indexname"
    assert await rows_of(database_url, found) == [
        ("history_2026_01_event",),
        ("history_2026_02_event",),
    ]


@pytest.mark.parametrize("text", ["CREATE INDEX CONCURRENTLY t_a ON t (a)", "SELECT 1; SELECT 2"])
async def test_migrate_outside_a_transaction_must_be_repeatable(
    database_url: str, folder: Path, text: str
):
    """A cut-off may come after it ran and before that is recorded."""
    (folder / "0003_index.sql").write_text(f"-- Runs outside a transaction.\n{text}")
    with pytest.raises(MigrationError, match=r"0003_index .*IF NOT EXISTS"):
        await migrate(database_url)
    assert await pending(database_url) == ("0003_index",)
