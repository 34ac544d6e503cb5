"""Connections to the ledger: a pool, transactions, and the translation of PostgreSQL's errors.

Errors are recognised by class and constraint, never by text. Every session carries the number of
its process as its name, so that all of them can be ended together (``ledger.db.leases``).

Neither a silent network nor a server that hangs holds a worker: a connection that takes too long is
cut.

The database's clock is the one clock of all processes of a ledger. Leases, terms and dates are
compared across processes. So each reads the database's clock with its heartbeat, and computes the
present from it by its own monotonic clock: a host whose clock is wrong harms nothing.

The offset of that clock from this process's own is estimated from readings. A reading was taken
between its request and its answer, so every exchange bounds the offset; clocks drift little, so the
bounds of earlier exchanges still hold, somewhat wider. One slow exchange thus costs no precision.

The named statements of ``sql/*.sql`` are a ``-- name:`` line, a comment on what it does, and the
SQL. Code names a statement and never builds one from pieces. ``{saved}`` stands for a list of
columns of ``record.consent_row``, ``{saved:r}`` for the same of the table ``r``.
"""

import asyncio
import os
import re
import socket
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from copy import copy as shallow_copy
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from math import inf
from types import TracebackType
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from izin.consent import Calendar, IzinError
from izin.ledger.db import copy_format
from izin.ledger.record import (
    LISTS,
    ConcurrentChangeError,
    FencedError,
    IllegalChangeError,
    LedgerFaultError,
    LedgerUnavailableError,
    RefusedValueError,
    SecretKeys,
)
from izin.runtime.logs import get_logger
from izin.runtime.setting_rules.database_checks import CONNECT_TIMEOUT, NETWORK
from izin.runtime.settings import LedgerSettings

T = TypeVar("T")
U = TypeVar("U")

Connection = psycopg.AsyncConnection[DictRow]

LAWFUL = "consents_lawful"
"""The name under which the database refuses a transition that is not in the table."""
_SESSION = (
    "the session, for it is stopped or restarted, or another worker has fenced this process, which "
    "showed no progress (it was frozen)"
)
_CONCURRENT = frozenset({"submission_items_open", "consents_pkey"})
"""Unique constraints that fail only where another process did the same at the same time."""
_OF_A_VALUE = frozenset({"22", "23", "54"})
"""The classes of SQLSTATE that tell of a value."""
_AFTER_THE_PASSWORD = ("host", "hostaddr", "port", "dbname")
"""The parts of a URL that get the rest of a password with an unquoted @ or /."""
_TLS_TOO = ", also its sslmode and sslrootcert"
_log = get_logger(__name__)
NO_URL = (
    "DATABASE_URL is not a PostgreSQL URL such as postgresql://user:password@host:5432/name; in a "
    "password write %40 for @ and %2F for /"
)
DRIFT = 0.0005
"""Seconds by which two clocks may drift apart in a second: the rate at which NTP slews one."""
_MARK = "-- name: "
_COLUMNS = re.compile(r"\{(\w+)(?::(\w+))?\}")


def statements(file: str, package: str = "izin.ledger") -> Mapping[str, LiteralString]:
    """Return the statements of ``sql/<file>.sql`` of a package by name."""
    text = (resources.files(package) / "sql" / f"{file}.sql").read_text("utf-8")
    found: dict[str, LiteralString] = {}
    for section in text.split(_MARK)[1:]:
        name, _, body = section.partition("\n")
        # A statement comes from a file of this package, never from input.
        found[name.strip()] = _COLUMNS.sub(_columns, body.strip().rstrip(";"))
    return found


def _columns(place: re.Match[str]) -> str:
    names, table = LISTS[place[1]], place[2]
    return ", ".join(names if table is None else [f"{table}.{name}" for name in names])


_SQL = statements("processes")


@dataclass(slots=True)
class ClockOffset:
    """The bounds of the offset, in seconds; infinite until the first reading."""

    _least: float = -inf
    _most: float = inf
    _at: float = 0.0
    """The last reading, by our clock."""

    def read(self, queried_at: float, reading: float, answered_at: float) -> None:
        """Record that the database's clock showed ``reading`` between two instants of ours."""
        apart, within = (answered_at - self._at) * DRIFT, (answered_at - queried_at) * DRIFT
        least, most = reading - answered_at - within, reading - queried_at + within
        if least > self._most + apart or most < self._least - apart:
            self._least, self._most = least, most  # a clock was set: earlier bounds are void
        else:
            self._least = max(least, self._least - apart)
            self._most = min(most, self._most + apart)
        self._at = answered_at

    def theirs(self, ours: float) -> float:
        """Return the latest reading that the database can have at a recent instant of ours."""
        return ours + self._most

    def ours(self, theirs: float) -> tuple[float, float]:
        """Return the bounds, by our clock, of an instant near the last reading."""
        return theirs - self._most, theirs - self._least


class LedgerClock(ClockOffset):
    """The clock of the database, as far as this process has read it.

    Ours is ``time.monotonic``; readings are in seconds since 1970.
    """

    def now(self) -> datetime:
        """Return the present: by this process's own clock until the database's was first read."""
        theirs = self.theirs(time.monotonic())
        return datetime.now(UTC) if theirs == inf else datetime.fromtimestamp(theirs, UTC)


def server_limits(url: str, settings: LedgerSettings) -> str:
    """Return the options of ``url`` with the server's own limits: below ours, so that what hangs
    there ends there first and names its reason. Raises LedgerUnavailableError for no URL.
    """
    limit = round(settings.transaction_limit.total_seconds() * 1000)
    limits = (
        f"-c {name}={share * limit // 4}"
        for name, share in (
            ("statement_timeout", 3),
            ("lock_timeout", 1),
            ("idle_in_transaction_session_timeout", 2),
        )
    )
    return " ".join((*limits, str(parts_of(url).get("options") or ""))).strip()


def parts_of(url: str) -> Mapping[str, Any]:
    """Return the parts of a PostgreSQL URL; raises LedgerUnavailableError where it is none."""
    try:
        return conninfo_to_dict(url)
    except psycopg.Error as error:
        # Its message would quote the URL, and the password in it.
        raise LedgerUnavailableError(NO_URL) from error


@contextmanager
def cut_after(connection: psycopg.AsyncConnection[Any], seconds: float) -> Iterator[None]:
    """Cut ``connection`` if the block takes longer: whoever waits for an answer then has none."""

    def cut() -> None:
        _log.error("ledger connection cut", seconds=seconds)
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    finally:
        timer.cancel()


class Ledger:
    """The connection pool of one process to the ledger. An async context manager."""

    def __init__(self, settings: LedgerSettings, *, owner: int) -> None:
        self._url = settings.database_url.get_secret_value()
        self._owner = owner
        self.calendar: Calendar = settings.calendar
        """The calendar of the terms in it."""
        self.secret_keys = SecretKeys(settings.secret_keys)
        """Under which the secrets in it are encrypted."""
        self.clock = LedgerClock()
        """The clock of the database, as far as this process has read it."""
        self._lease: Mapping[str, str | int] | None = None
        self._transaction_limit = settings.transaction_limit.total_seconds()
        self._session = {**NETWORK, "application_name": f"izin-{owner}"}
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._url,
            min_size=1,
            max_size=settings.pool_size,
            kwargs={
                "row_factory": dict_row,
                "autocommit": False,
                "options": server_limits(self._url, settings),
                **self._session,
            },
            connection_class=psycopg.AsyncConnection[DictRow],
            timeout=CONNECT_TIMEOUT,
            open=False,
            name="ledger",
        )

    @property
    def owner(self) -> str:
        """This process's number, as leases carry it."""
        return str(self._owner)

    def owning(self, work: str, epoch: int) -> Self:
        """Return this ledger as the owner of a lease writes to it: each transaction checks it."""
        ledger = shallow_copy(self)
        ledger._lease = {"name": work, "epoch": epoch}  # noqa: SLF001  # of this very class
        return ledger

    async def __aenter__(self) -> Self:
        try:
            with _translating():
                await self._pool.open(wait=True, timeout=CONNECT_TIMEOUT)
        except LedgerUnavailableError:
            # The pool retries silently and hides the cause.
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
        """Provide a connection whose changes are committed together, or not at all.

        After the limit of the settings the connection is cut: neither a silent network nor a server
        that hangs may hold a worker for ever.

        Raises:
            LedgerUnavailableError: PostgreSQL cannot be reached, does not answer, or is restarting.
            ConcurrentChangeError: another process changed the same rows first.
            IllegalChangeError: the database refused a transition.
            FencedError: another process has taken over the lease of this work.
            LedgerFaultError: any other error of PostgreSQL; errors of psycopg are never raised.
        """
        async with self.reading() as connection:
            if (
                self._lease is not None
                and await fetch_one(connection, _SQL["check"], self._lease) is None
            ):
                raise FencedError(str(self._lease["name"]))
            yield connection

    async def fetch(
        self, query: LiteralString, values: Mapping[str, Any] | None = None
    ) -> list[DictRow]:
        """Return the rows of one query, in a transaction of its own.

        It reads: no lease is checked, for that would write. The server begins and ends the
        transaction, which saves two of three messages to it.
        """
        async with self.reading() as connection:
            await connection.set_autocommit(True)
            try:
                return await (await connection.execute(query, values)).fetchall()
            finally:
                # One that is not idle is lost, and the pool closes it.
                if connection.info.transaction_status is TransactionStatus.IDLE:
                    await connection.set_autocommit(False)

    async def execute(
        self, query: LiteralString, values: Mapping[str, Any] | None = None
    ) -> list[DictRow]:
        """Run one statement that changes something, in a transaction of its own; return its rows.

        Raises as ``transaction``.
        """
        async with self.transaction() as connection:
            done = await connection.execute(query, values)
            return await done.fetchall() if done.description else []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Provide a connection that reads, in a transaction of its own, as ``fetch`` does."""
        with _translating():
            async with self._pool.connection() as connection:
                with cut_after(connection, self._transaction_limit):
                    yield connection

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """Provide a connection outside the pool that commits each statement and may wait long."""
        with _translating():
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, row_factory=dict_row, **self._session
            ) as connection:
                yield connection

    async def pages(
        self, query: LiteralString, values: Mapping[str, Any] | None = None, *, size: int
    ) -> AsyncIterator[list[DictRow]]:
        """Yield the rows of a query, ``size`` at a time, as they stand at its beginning. To read
        them all, and work on each, may take longer than a transaction of the pool may.
        """
        async with (
            self.session() as connection,
            connection.transaction(),
            connection.cursor(name="pages") as cursor,
        ):
            await cursor.execute(query, values)
            while page := await cursor.fetchmany(size):
                yield page


async def fetch(
    connection: Connection, query: LiteralString, values: Mapping[str, Any] | None = None
) -> list[DictRow]:
    """Run a statement in the transaction of ``connection``; return its rows."""
    return await (await connection.execute(query, values)).fetchall()


async def fetch_one(
    connection: Connection, query: LiteralString, values: Mapping[str, Any] | None = None
) -> DictRow | None:
    """Do the same; return its first row, None where it has none."""
    return await (await connection.execute(query, values)).fetchone()


async def copy(connection: Connection, statement: LiteralString, chunks: Iterable[bytes]) -> None:
    """Write ``chunks`` of whole rows by the COPY ``statement``.

    A chunk is made while the server reads those before it, so that both work at once. Between two
    chunks other tasks of the event loop run.
    """
    async with connection.cursor() as cursor, cursor.copy(statement) as writer:
        await writer.write(copy_format.SIGNATURE)
        for chunk in chunks:
            await writer.write(chunk)
            await asyncio.sleep(0)
        await writer.write(copy_format.END)


async def while_waiting(
    statement: Coroutine[Any, Any, T], work: Callable[[], Awaitable[U]]
) -> tuple[T, U]:
    """Return the results of ``statement`` and of ``work``, which runs while PostgreSQL works.

    ``work`` must not use the statement's connection. It does not begin where this is cancelled
    before.
    """
    running = asyncio.create_task(statement)
    try:
        await asyncio.sleep(0)
        made = await work()
    finally:
        found = await running
    return found, made


async def reach(url: str) -> None:
    """Connect once, outside any pool.

    Raises:
        LedgerUnavailableError: with the message of the server.
    """
    parts = parts_of(url)
    if any("@" in str(parts.get(name, "")) for name in _AFTER_THE_PASSWORD):
        raise LedgerUnavailableError(NO_URL)
    try:
        connection = await psycopg.AsyncConnection.connect(
            make_conninfo(
                url, connect_timeout=parts.get("connect_timeout") or round(CONNECT_TIMEOUT)
            )
        )
    except psycopg.Error as error:
        first, *_ = (str(error) or type(error).__name__).splitlines()
        raise LedgerUnavailableError(
            f"PostgreSQL cannot be reached: {first}; is it running, and is DATABASE_URL right"
            f"{_TLS_TOO if 'sslmode' in parts else ''}?"
        ) from error
    await connection.close()


@contextmanager
def _translating() -> Iterator[None]:
    """Raise errors of psycopg as errors of ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def is_refused_value(error: psycopg.Error) -> bool:
    """Whether a value is at fault, and not the statement, the server or the network.

    By SQLSTATE: data exceptions (22), violated constraints (23), and limits of the program (54),
    such as an index entry that is too long. psycopg itself refuses values too, without a state.
    """
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.DataError)
    return state[:2] in _OF_A_VALUE


def translate(error: psycopg.Error) -> IzinError:
    """Return an error of psycopg as one of ours, by its class and constraint."""
    constraint = error.diag.constraint_name
    fault = f"{type(error).__name__} {error.sqlstate or ''} {constraint or ''}".strip()
    if constraint == LAWFUL:
        return IllegalChangeError(f"the ledger refused a transition: {error.diag.message_detail}")
    match error:
        case errors.SerializationFailure() | errors.DeadlockDetected() | errors.LockNotAvailable():
            return ConcurrentChangeError(fault)
        case errors.UniqueViolation() if constraint in _CONCURRENT:
            return ConcurrentChangeError(fault)
        case (
            errors.QueryCanceled()
            | errors.IdleInTransactionSessionTimeout()
            | errors.AdminShutdown()
        ):
            what = _SESSION if isinstance(error, errors.AdminShutdown) else "what took too long"
            return LedgerUnavailableError(f"PostgreSQL ended {what} ({fault})")
        case _ if is_refused_value(error):
            kind: type[LedgerFaultError] = RefusedValueError
        case (
            PoolTimeout()
            | psycopg.OperationalError()
            | psycopg.InterfaceError()
            | errors.ReadOnlySqlTransaction()  # a standby: after a failover another one writes
        ):
            return LedgerUnavailableError(
                f"PostgreSQL cannot be reached ({fault}); is it running, and is DATABASE_URL right?"
            )
        case errors.UndefinedTable() | errors.UndefinedColumn() | errors.UndefinedFunction():
            fault = f"{fault}: a migration is missing; izin doctor --fix runs it"
            kind = LedgerFaultError
        case _:
            kind = LedgerFaultError
    return kind(fault)
