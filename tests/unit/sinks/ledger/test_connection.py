"""PostgreSQL errors are distinguished by SQLSTATE: what a value did, and what passes by itself."""

import asyncio

import psycopg
import pytest
from psycopg import errors

from izin.consent.errors import IzinError
from izin.sinks.ledger.db.connection import translate, while_waiting
from izin.sinks.record.errors import (
    ConcurrentChangeError,
    LedgerFaultError,
    LedgerUnavailableError,
    RefusedValueError,
)

KINDS: dict[type[IzinError], tuple[str, ...]] = {
    # bytes that are no text, a number and an instant out of range, a check, a null, an index entry
    RefusedValueError: ("22021", "22003", "22008", "23514", "23502", "54000"),
    # serialization, deadlock, a lock time-out
    ConcurrentChangeError: ("40001", "40P01", "55P03"),
    # connections, disk and memory, shutdown and restart, cancelled and idle, a standby
    LedgerUnavailableError: (
        *("08006", "08003", "08P01", "53100", "53200", "53300"),
        *("57P01", "57P02", "57P03", "57014", "25P03", "25006"),
    ),
    # a table or column is missing, no right to it, an internal error
    LedgerFaultError: ("42P01", "42703", "42501", "XX000"),
}


@pytest.mark.parametrize(
    ("state", "kind"), [(state, kind) for kind, states in KINDS.items() for state in states]
)
def test_translate_tells_errors_apart_by_their_sqlstate(state: str, kind: type[IzinError]) -> None:
    """Only a refused value may put a record aside."""
    assert type(translate(errors.lookup(state)("any text"))) is kind


def test_translate_of_errors_without_a_state() -> None:
    """Psycopg refuses a text with a NUL itself; a connection may break before there is a state."""
    assert type(translate(psycopg.DataError("a text"))) is RefusedValueError
    assert type(translate(psycopg.OperationalError("a text"))) is LedgerUnavailableError
    assert type(translate(psycopg.InterfaceError("a text"))) is LedgerUnavailableError


@pytest.mark.parametrize("state", ["42P01", "42703", "42883"])
def test_missing_migration_has_a_remedy(state: str) -> None:
    """A database without our tables, columns or functions is one that was not migrated."""
    assert "izin doctor --fix" in str(translate(psycopg.errors.lookup(state)("any text")))


async def test_work_beside_a_statement_does_not_begin_once_it_is_cancelled() -> None:
    """Nothing is left that nobody awaits."""
    begun = list[str]()

    async def statement() -> None:
        await asyncio.sleep(0)
        begun.append("statement")

    async def work() -> None:
        begun.append("work")

    waiting = asyncio.create_task(while_waiting(statement(), work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert begun == ["statement"]
