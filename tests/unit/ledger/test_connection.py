"""PostgreSQL errors are distinguished by SQLSTATE: what a value did, and what passes by itself.

A process is silent where this one has watched it show no progress, for long enough.

SQL is commented, and migrations are numbered.

The bounds of the database's instants hold for any exchanges.

Notifications wake whoever waits, and none is lost.
"""

import asyncio
from datetime import timedelta
from importlib import resources

import psycopg
import pytest
from hypothesis import given, strategies as st
from psycopg import errors

from izin.consent import IzinError
from izin.ledger.db import BULK, ClockOffset, Notifications, statements, while_waiting
from izin.ledger.db.connection import DRIFT, translate
from izin.ledger.db.leases import Silence
from izin.ledger.db.migrate import migrations
from izin.ledger.record import (
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
FILES = [path.name for path in (resources.files("izin.ledger") / "sql").iterdir()]
ways = st.floats(0, 0.5)
SOON = timedelta(seconds=5)


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


def test_session_that_the_server_ended_says_who_may_have_done_it() -> None:
    """A worker that was frozen and fenced reads it when it wakes: nothing is wrong with the URL."""
    said = str(translate(errors.lookup("57P01")("any text")))
    assert "fenced" in said
    assert "DATABASE_URL" not in said


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


def silent(watched: list[tuple[float, dict[str, int]]]) -> list[str]:
    """Return who is silent at the last of these readings."""
    silence, found = Silence(after=10.0, longest_gap=4.0), []
    for now, beats in watched:
        found = silence.of(beats, now)
    return found


@pytest.mark.parametrize(
    ("watched", "found"),
    [
        ([(now, {"1": 7}) for now in (0.0, 3.0, 6.0, 9.0)], []),
        ([(now, {"1": 7}) for now in (0.0, 3.0, 6.0, 9.0, 10.0)], ["1"]),
        ([(0.0, {"1": 7}), (4.0, {"1": 7}), (8.0, {"1": 8}), (12.0, {"1": 8})], []),
        ([(0.0, {"1": 7}), (60.0, {"1": 7}), (62.0, {"1": 7})], []),
        ([(0.0, {"1": 7}), (4.0, {}), (8.0, {"1": 7}), (11.0, {"1": 7})], []),
    ],
    ids=["nine seconds", "ten seconds", "a beat between", "not watched", "gone in between"],
)
def test_process_without_a_beat_for_ten_seconds_is_silent(
    watched: list[tuple[float, dict[str, int]]], found: list[str]
):
    """It is frozen, or its host was powered off; however slow a beat is, it ends the silence. What
    was not watched is none: this process was frozen itself, or the database was away.
    """
    assert silent(watched) == found


@pytest.mark.parametrize("file", sorted(name.removesuffix(".sql") for name in FILES))
def test_every_sql_statement_has_a_comment(file: str):
    """SQL is named and commented, so that it can be read without its caller."""
    for name, text in statements(file).items():
        assert text.startswith("--"), f"{file}.sql: {name} has no comment"


def test_migrations_are_numbered_without_a_gap():
    """They run in the order of their names; what one of them needs outside a transaction has its
    number.
    """
    numbers = [int(one.name.split("_")[0]) for one in migrations()]
    assert numbers == sorted(numbers)
    assert sorted(set(numbers)) == list(range(1, numbers[-1] + 1))
    assert len([one for one in migrations() if not one.is_outside]) == numbers[-1]


@given(
    st.floats(-1e6, 1e6),
    st.floats(-DRIFT / 2, DRIFT / 2),
    st.lists(st.tuples(st.floats(0, 10), ways, ways), min_size=1, max_size=30),
)
def test_instant_of_the_database_lies_within_its_bounds(
    ahead: float, drift: float, exchanges: list[tuple[float, float, float]]
):
    """The database's clock is ahead, drifts, and is read over slow networks."""

    def theirs(ours: float) -> float:
        return ours + ahead + drift * ours

    offset, at = ClockOffset(), 0.0
    for pause, there, back in exchanges:
        queried_at = at + pause
        at = queried_at + there + back
        offset.read(queried_at, theirs(queried_at + there), at)
        earliest, latest = offset.ours(theirs(at))
        assert earliest - 1e-6 <= at <= latest + 1e-6
        assert offset.theirs(at) >= theirs(at) - 1e-6


def test_slow_exchange_costs_no_precision():
    """The bounds of a quick exchange still hold, somewhat wider."""
    offset = ClockOffset()
    offset.read(10.0, 1010.001, 10.002)
    offset.read(11.0, 1011.3, 11.4)
    earliest, latest = offset.ours(1011.4)
    assert latest - earliest == pytest.approx(0.002, abs=0.003)


def test_clock_that_was_set_replaces_earlier_exchanges():
    """What was read before is of no use."""
    offset = ClockOffset()
    offset.read(10.0, 1010.001, 10.002)
    offset.read(11.0, 2011.001, 11.002)
    earliest, latest = offset.ours(2011.002)
    assert earliest <= 11.001 <= latest
    assert latest - earliest < 0.01


async def test_notification_before_the_wait_is_not_lost():
    """One since the last look ends the wait at once."""
    notifications = Notifications()
    seen = notifications.count(BULK)
    notifications.wake(BULK)
    await asyncio.wait_for(notifications.wait(BULK, seen, SOON), 1)


async def test_of_a_lane_one_is_woken_at_a_time():
    """Whoever has waited longest; others of the lane, and other lanes, wait on."""
    notifications = Notifications()
    first, second, other = (
        asyncio.create_task(notifications.wait(BULK, 0, SOON, lane))
        for lane in ("bulk", "bulk", "last hour")
    )
    await asyncio.sleep(0)
    notifications.wake_one("bulk")
    await asyncio.wait_for(first, 1)
    assert not second.done()
    notifications.wake_one("bulk")
    await asyncio.wait_for(second, 1)
    notifications.wake_one("bulk")
    assert not other.done()
    notifications.wake(BULK)
    await asyncio.wait_for(other, 1)


async def test_notification_ends_the_wait():
    """Nobody waits for the interval while there is work."""
    notifications = Notifications()
    waiting = asyncio.create_task(notifications.wait(BULK, notifications.count(BULK), SOON))
    await asyncio.sleep(0)
    notifications.wake(BULK)
    await asyncio.wait_for(waiting, 1)
