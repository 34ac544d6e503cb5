"""Migrations run in order, each once, and never after a contradiction."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.sink.fixture import sink_fixture
from izin.ledger.db import migrate as module
from izin.ledger.db import pending
from izin.ledger.db.migrate import Patience, migrate
from izin.ledger.record import MigrationError
from izin.runtime.backoff import Backoff
from izin.runtime.settings import KafkaSettings
from tests.integration.sinks.sink_harness import until

pytestmark = pytest.mark.database

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
    with pytest.raises(psycopg.errors.DivisionByZero):
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
    with pytest.raises(psycopg.errors.UniqueViolation):
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
