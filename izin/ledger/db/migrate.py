"""Migrations of the ledger: numbered files, applied in order, each once, one process at a time.

Each runs in a transaction of its own, so that a cut-off resumes after the last one that ran.
Writers queue behind a migration that waits for its lock: it gives up soon, lets them pass, and
tries again. A file that begins with ``OUTSIDE`` builds or drops an index concurrently, which no
transaction may; one of the history month by month, for no index of a partitioned table can be built
so. A file that has run must never change: its digest is stored, and a difference is an error.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors

from izin.ledger.db.connection import statements
from izin.ledger.record import MigrationError
from izin.runtime.backoff import Backoff
from izin.runtime.logs import get_logger

_OF_THE_SERVER = ("08", "57P")
"""How the states begin of a connection that is lost, and of a server that stops or starts."""
FOLDER = resources.files("izin.ledger") / "migrations"
OUTSIDE = "-- Runs outside a transaction."
"""The first line of a file with one statement that may not be in a transaction."""
MONTH = "{month}"
"""In such a statement: the table of a month of the history; it is run for each."""
_ENDS = re.compile(r"^-- Ends (.*)$", re.MULTILINE)
"""A line of a migration beside which the release before cannot run."""
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_REPEATABLE = re.compile(
    r"\s*(?:DROP|CREATE(?: UNIQUE)?) INDEX CONCURRENTLY IF (?:NOT )?EXISTS ([\w{}]+)[^;]*;?\s*"
)
_UNHURRIED = 30
"""How much longer an index may wait that is built concurrently: no writer queues behind it."""
_SQL = statements("migrate")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def ends(self) -> str:
        """What it ends, as a person reads it before it runs: the way back to a release; empty:
        nothing.
        """
        found = _ENDS.search(self.text)
        return "" if found is None else f"ends {found[1]}"

    @property
    def is_outside(self) -> bool:
        """Whether it runs outside a transaction."""
        return self.text.startswith(OUTSIDE)

    @property
    def index(self) -> str:
        """The index that it builds or drops outside a transaction.

        Raises:
            MigrationError: it is not one statement that may be repeated. A cut-off may come after
                it ran and before that is recorded.
        """
        statement = _REPEATABLE.fullmatch(_COMMENT.sub("", self.text))
        if statement is None:
            raise MigrationError(
                f"migration {self.name} runs outside a transaction and must be one statement, "
                "CREATE INDEX CONCURRENTLY IF NOT EXISTS or DROP INDEX CONCURRENTLY IF EXISTS"
            )
        return statement[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a migration waits for its locks, how often it tries, and what is between."""

    lock_timeout: timedelta
    attempts: int
    backoff: Backoff


_PATIENCE = Patience(
    lock_timeout=timedelta(seconds=2),
    attempts=10,
    backoff=Backoff(timedelta(seconds=1), timedelta(seconds=30)),
)


def migrations() -> tuple[Migration, ...]:
    """Return every migration of this release, in order."""
    return tuple(
        Migration(name=path.name.removesuffix(".sql"), text=path.read_text("utf-8"))
        for path in sorted(FOLDER.iterdir(), key=lambda one: one.name)
        if path.name.endswith(".sql")
    )


async def migrate(url: str, patience: Patience = _PATIENCE) -> tuple[str, ...]:
    """Bring the ledger at ``url`` up to this release; return the names of what was applied.

    Raises:
        MigrationError: the ledger is of another release, or a migration did not get its locks (the
            message names the sessions that have them) or failed. What ran before it stays.
    """
    async with (
        await AsyncConnection.connect(url, autocommit=True) as connection,
        await AsyncConnection.connect(url, autocommit=True) as watch,
    ):
        await _lock(connection)
        await connection.execute(_SQL["create-table"])
        missing = await _missing(connection)
        for migration in missing:
            await _apply(connection, watch, migration, patience)
    return tuple(one.name for one in missing)


async def _lock(connection: AsyncConnection) -> None:
    """Wait until no other process migrates; the server frees the lock with the connection."""
    wait, failures = Backoff(timedelta(milliseconds=50), timedelta(seconds=1)), 0
    while (await (await connection.execute(_SQL["try-lock"])).fetchone()) == (False,):
        failures += 1
        await asyncio.sleep(wait.after(failures).total_seconds())


async def _apply(
    connection: AsyncConnection, watch: AsyncConnection, one: Migration, patience: Patience
) -> None:
    """Apply a migration, again and again until it gets its locks; raises MigrationError."""
    timeout = patience.lock_timeout * (_UNHURRIED if one.is_outside else 1)
    await connection.execute(
        _SQL["lock-timeout"], {"milliseconds": str(round(timeout.total_seconds() * 1000))}
    )
    blockers: Sequence[str] = ()
    for attempt in range(1, patience.attempts + 1):
        running = asyncio.create_task(_run(connection, one))
        try:
            while not (await asyncio.wait({running}, timeout=timeout.total_seconds() / 5))[0]:
                blockers = await _blockers(watch, connection.info.backend_pid) or blockers
            await running
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            _log.warning("migration kept waiting", migration=one.name, blockers=blockers)
            await asyncio.sleep(patience.backoff.after(attempt).total_seconds())
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(_OF_THE_SERVER):
                raise
            raise MigrationError(
                f"migration {one.name} failed: {error.diag.message_primary} ({error.sqlstate}); "
                "correct that, and run izin doctor --fix again, which repeats it"
            ) from error
        else:
            return
        finally:
            running.cancel()
    raise MigrationError(
        f"migration {one.name} did not get its locks in {patience.attempts} attempts of "
        f"{timeout.total_seconds():g} s; they are held by {'; '.join(blockers) or 'other sessions'}"
        ": wait for them or end them, and run izin doctor --fix again"
    )


async def _run(connection: AsyncConnection, one: Migration) -> None:
    """Run a migration once, and record it."""
    # It comes from a file of this package, never from input.
    record = {"name": one.name, "digest": one.digest}
    if one.is_outside:
        for name, text in await _statements(connection, one):
            found = await connection.execute(_SQL["invalid-index"], {"name": name})
            for (index,) in await found.fetchall():
                # A cut-off left it unfinished, and IF NOT EXISTS would take it for the index.
                await connection.execute(f"DROP INDEX CONCURRENTLY {index}".encode())
            await connection.execute(text.encode())
        await connection.execute(_SQL["add"], record)
        return
    async with connection.transaction():
        await connection.execute(one.text.encode())
        await connection.execute(_SQL["add"], record)


async def _statements(connection: AsyncConnection, one: Migration) -> list[tuple[str, str]]:
    """Return the index and the statement of a migration outside a transaction, or those of each
    month of the history.
    """
    if MONTH not in one.index:
        return [(one.index, one.text)]
    return [
        (one.index.replace(MONTH, name), one.text.replace(MONTH, name))
        for (name,) in await (await connection.execute(_SQL["months"])).fetchall()
    ]


async def _blockers(watch: AsyncConnection, pid: int) -> Sequence[str]:
    """Return the sessions for which session ``pid`` waits; without their statements, which may have
    recipients in them.
    """
    rows: list[tuple[Any, ...]] = await (
        await watch.execute(_SQL["blockers"], {"pid": pid})
    ).fetchall()
    return [
        f"process {number} of {user or 'another role'} ({application or 'no application name'}, "
        f"{state or 'state unknown'}, in its transaction since {since})"
        for number, user, application, state, since in rows
    ]


async def pending(url: str) -> tuple[str, ...]:
    """Return the names of the migrations that the ledger at ``url`` still lacks."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await (await connection.execute(_SQL["has-table"])).fetchone()
        if found is None or found[0] is None:
            return tuple(migration.name for migration in migrations())
        return tuple(one.name for one in await _missing(connection))


async def _missing(connection: AsyncConnection) -> list[Migration]:
    applied = {
        str(name): str(digest)
        for name, digest in await (await connection.execute(_SQL["applied"])).fetchall()
    }
    known = {migration.name: migration for migration in migrations()}
    for name, digest in applied.items():
        if name not in known:
            raise MigrationError(f"the ledger has run {name}, which this release does not know")
        if known[name].digest != digest:
            raise MigrationError(f"migration {name} was changed after the ledger ran it")
    return [one for one in known.values() if one.name not in applied]
