"""The way to the ledger: a pool, transactions, and the wall at which PostgreSQL's errors stop.

Errors are told apart by class and constraint, never by text. A process proves that it lives by an
advisory lock on its number, so that what it was doing when it was killed is taken up at once and
not when a lease runs out.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, LiteralString, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from izin.consent.errors import IzinError
from izin.runtime.observe import get_logger
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db import copy_format
from izin.sinks.record.errors import (
    ConcurrentChangeError,
    IllegalChangeError,
    LedgerFaultError,
    LedgerUnavailableError,
)

if TYPE_CHECKING:
    from izin.consent.business_days import Calendar

T = TypeVar("T")
U = TypeVar("U")

Connection = psycopg.AsyncConnection[DictRow]

LAWFUL = "consents_lawful"
"""The name under which the database refuses a transition that is not in the table."""
_ANOTHERS = frozenset({"submission_items_open", "consents_pkey"})
"""Uniqueness that fails only where another process did the same at the same time."""
LOCK_CLASS = 29_541
"""The advisory locks of living processes; the object is the process's number."""
_CONNECT_TIMEOUT = 10.0
_AFTER_THE_PASSWORD = ("host", "hostaddr", "port", "dbname")
"""What a URL is cut into where a password holds an @ or a / as it is: parts of it would be told."""
_NO_URL = (
    "DATABASE_URL is no PostgreSQL URL such as postgresql://user:password@host:5432/name; in a "
    "password @ is written %40 and / %2F"
)

_log = get_logger(__name__)


class Ledger:
    """The ledger's database as one process uses it. An async context manager."""

    def __init__(self, settings: LedgerSettings, *, owner: int) -> None:
        self._url = settings.database_url.get_secret_value()
        self._owner = owner
        self.calendar: Calendar = settings.calendar
        """By which the terms in it are counted."""
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._url,
            min_size=1,
            max_size=settings.pool_size,
            kwargs={"row_factory": dict_row, "autocommit": False},
            connection_class=psycopg.AsyncConnection[DictRow],
            timeout=_CONNECT_TIMEOUT,
            open=False,
            name="ledger",
        )

    @property
    def owner(self) -> str:
        """This process's number, as leases carry it."""
        return str(self._owner)

    async def __aenter__(self) -> Self:
        try:
            with _wall():
                await self._pool.open(wait=True, timeout=_CONNECT_TIMEOUT)
        except LedgerUnavailableError:
            # The pool tries in silence, and keeps causes to itself.
            await reach(self._url)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a connection whose changes are kept together, or not at all.

        Raises LedgerUnavailableError, ConcurrentChangeError, IllegalChangeError and
        LedgerFaultError, and nothing of psycopg.
        """
        with _wall():
            async with self._pool.connection() as connection:
                yield connection

    async def fetch(
        self, query: LiteralString, values: Mapping[str, Any] | None = None
    ) -> list[DictRow]:
        """Return the rows of one query, in a transaction of its own."""
        async with self.transaction() as connection:
            return await (await connection.execute(query, values)).fetchall()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """Give a connection outside the pool that commits each statement, and may wait for long."""
        with _wall():
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, row_factory=dict_row
            ) as connection:
                yield connection

    @asynccontextmanager
    async def sole(self, name: str) -> AsyncIterator[Connection]:
        """Wait until this process is the only one to do ``name``; it is while the context lasts.

        The database frees the name when the connection goes, whatever became of the process.
        """
        async with self.session() as connection:
            await connection.execute(
                "SELECT pg_advisory_lock(hashtext('izin.sole'), hashtext(%(name)s))", {"name": name}
            )
            yield connection

    async def live(self, alive: asyncio.Event) -> None:
        """Hold the lock that says this process lives, until cancelled or the database is lost.

        ``alive`` is set as soon as others can see it.
        """
        async with self.session() as connection:
            await connection.execute(
                "SELECT pg_advisory_lock(%(class)s, %(owner)s)",
                {"class": LOCK_CLASS, "owner": self._owner},
            )
            alive.set()
            while True:
                await connection.execute("SELECT 1")
                await asyncio.sleep(_CONNECT_TIMEOUT)


async def copy(connection: Connection, statement: LiteralString, helpings: Iterable[bytes]) -> None:
    """Write ``helpings`` of whole ``rows`` by the COPY ``statement``.

    A helping is made while the server takes those before, so that both work at once. Between two
    helpings others on this loop have their turn.
    """
    async with connection.cursor() as cursor, cursor.copy(statement) as writer:
        await writer.write(copy_format.SIGNATURE)
        for helping in helpings:
            await writer.write(helping)
            await asyncio.sleep(0)
        await writer.write(copy_format.END)


async def while_waiting(statement: Coroutine[Any, Any, T], work: Awaitable[U]) -> tuple[T, U]:
    """Return what ``statement`` finds and what ``work``, done while PostgreSQL is at it, makes.

    ``work`` must leave the statement's connection alone.
    """
    running = asyncio.create_task(statement)
    try:
        await asyncio.sleep(0)
        made = await work
    finally:
        found = await running
    return found, made


async def reach(url: str) -> None:
    """Connect once, outside any pool; raises LedgerUnavailableError with the server's own word."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        # Its message would quote the URL, and the password in it.
        raise LedgerUnavailableError(_NO_URL) from error
    if any("@" in str(parts.get(name, "")) for name in _AFTER_THE_PASSWORD):
        raise LedgerUnavailableError(_NO_URL)
    try:
        patience = parts.get("connect_timeout") or round(_CONNECT_TIMEOUT)
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo(url, connect_timeout=patience)
        )
    except psycopg.Error as error:
        first, *_ = (str(error) or type(error).__name__).splitlines()
        raise LedgerUnavailableError(
            f"PostgreSQL cannot be reached: {first}; is it running, and is DATABASE_URL right?"
        ) from error
    await connection.close()


@contextmanager
def _wall() -> Iterator[None]:
    """Let no error of psycopg through."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> IzinError:
    """Return what an error of psycopg means to us, by its class and constraint."""
    constraint = error.diag.constraint_name
    told = f"{type(error).__name__} {error.sqlstate or ''} {constraint or ''}".strip()
    if constraint == LAWFUL:
        return IllegalChangeError(f"the ledger refused a transition: {error.diag.message_detail}")
    match error:
        case errors.SerializationFailure() | errors.DeadlockDetected() | errors.LockNotAvailable():
            return ConcurrentChangeError(told)
        case errors.UniqueViolation() if constraint in _ANOTHERS:
            return ConcurrentChangeError(told)
        case PoolTimeout() | psycopg.OperationalError() | psycopg.InterfaceError():
            return LedgerUnavailableError(
                f"PostgreSQL cannot be reached ({told}); is it running, and is DATABASE_URL right?"
            )
        case _:
            return LedgerFaultError(told)
