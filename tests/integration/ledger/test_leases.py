"""Work of one process at a time passes on when its owner is gone or frozen, and never before.

Reads of the outbox start at a floor that no row can be committed below.
"""

import asyncio
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TextIO

import psycopg
import pytest
from psycopg.rows import dict_row
from structlog.testing import capture_logs

from izin.ledger.db import Connection, Ledger, exclusive, live, statements
from izin.ledger.db.leases import enter
from izin.ledger.record import FencedError, LedgerUnavailableError
from izin.runtime.process import cancel_all
from izin.runtime.settings import LedgerSettings
from izin.sinks.publish.publisher import OutboxReader
from tests.integration.sinks.sink_harness import until

pytestmark = pytest.mark.database
FROZEN = """
import asyncio, sys
from datetime import UTC, datetime
from pydantic import SecretStr
from izin.runtime.settings import LedgerSettings
from izin.ledger.db.connection import Ledger
from izin.ledger.db.leases import exclusive
from izin.ledger.db.leases import live
from izin.ledger.record.errors import FencedError, LedgerUnavailableError

async def main():
    settings = LedgerSettings(database_url=SecretStr(sys.argv[1]))
    async with Ledger(settings, owner=7) as ledger:
        alive = asyncio.Event()
        living = asyncio.create_task(live(ledger, alive, heartbeat=0.2))
        await alive.wait()
        async with exclusive(ledger, "work") as owner:
            async with owner.transaction() as connection:
                await connection.execute("INSERT INTO worked VALUES ('before')")
            try:
                async with owner.transaction() as connection:
                    await connection.execute("UPDATE worked SET what = 'held'")
                    async with connection.cursor() as cursor:
                        async with cursor.copy("COPY worked FROM STDIN") as copy:
                            await copy.write_row(["copied"])
                            print("amid copy", flush=True)
                            await asyncio.to_thread(sys.stdin.readline)
            except LedgerUnavailableError:
                print("cut", flush=True)
            try:
                async with owner.transaction() as connection:
                    await connection.execute("INSERT INTO worked VALUES ('after')")
            except FencedError:
                print("fenced", flush=True)
        living.cancel()

asyncio.run(main())
"""
DELIVERED = statements("outbox")["delivered"]
INSERT = """INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
    SELECT 'acme', 'topic', 'key', 'value', '{}', now() FROM generate_series(1, %(rows)s)
    RETURNING id"""
COPY = "COPY outbox (customer_id, topic, key, value, headers, occurred_at) FROM STDIN"
LINE = f"acme\ttopic\tkey\t{'x' * 4000}\t{{}}\t2026-03-02 09:00:00+00\n"
BLOCKS = """SELECT pg_stat_get_xact_blocks_fetched('outbox'::regclass)
    + pg_stat_get_xact_blocks_fetched('outbox_pkey'::regclass) AS blocks"""
BEATEN = "SELECT FROM processes WHERE owner = %(owner)s AND beats >= %(times)s"
LAST_ID = "SELECT last_value FROM outbox_id_seq WHERE is_called"


@asynccontextmanager
async def process(settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Give the ledger of one more process, which lives."""
    async with Ledger(settings, owner=secrets.randbelow(2**30) + 100) as ledger:
        alive = asyncio.Event()
        living = asyncio.create_task(live(ledger, alive, heartbeat=0.2, silence=1.0))
        await alive.wait()
        try:
            yield ledger
        finally:
            await cancel_all([living])


async def said(output: TextIO, line: str) -> None:
    """Wait until the process has printed ``line``, amid its log."""
    async with asyncio.timeout(60):
        while await asyncio.to_thread(output.readline) != f"{line}\n":
            assert not output.closed


async def test_owner_frozen_amid_copy_is_fenced(database_url: str, ledger_settings: LedgerSettings):
    """Its row locks would last through every time-out; when it wakes, it writes nothing."""
    async with process(ledger_settings) as ledger:
        async with ledger.transaction() as connection:
            await connection.execute("CREATE TABLE worked (what text)")
        frozen = subprocess.Popen(  # noqa: ASYNC220  # our own interpreter
            [sys.executable, "-c", FROZEN, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert frozen.stdout is not None
        assert frozen.stdin is not None
        try:
            await said(frozen.stdout, "amid copy")
            frozen.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(60), exclusive(ledger, "work") as owner:
                async with owner.transaction() as connection:
                    await connection.execute("UPDATE worked SET what = 'taken over'")
                frozen.send_signal(signal.SIGCONT)
                frozen.stdin.write("\n")
                frozen.stdin.flush()
                await said(frozen.stdout, "cut")
                await said(frozen.stdout, "fenced")
                assert await ledger.fetch("SELECT what FROM worked") == [{"what": "taken over"}]
        finally:
            frozen.send_signal(signal.SIGCONT)
            frozen.kill()
            frozen.communicate()


async def test_lease_of_a_living_process_is_not_taken(ledger_settings: LedgerSettings):
    """It is taken at once when the process has ended."""
    async with process(ledger_settings) as other:
        async with process(ledger_settings) as first, exclusive(first, "work") as owner:
            waiting = asyncio.create_task(exclusive(other, "work").__aenter__())
            # So many of its heartbeats that a silent process would be fenced.
            await until(lambda: other.fetch(BEATEN, {"owner": first.owner, "times": 15}))
            assert not waiting.done()
            async with owner.transaction() as connection:
                await connection.execute("SELECT 1")
        async with asyncio.timeout(60):
            taken = await waiting
        async with taken.transaction() as connection:
            await connection.execute("SELECT 1")


async def test_owner_that_lost_its_session_is_fenced_without_a_silence(
    ledger_settings: LedgerSettings,
):
    """The session that shows that it lives was cut: others take over, and it starts over."""
    async with (
        process(ledger_settings) as other,
        Ledger(ledger_settings, owner=8) as ledger,
        exclusive(ledger, "work") as owner,
        asyncio.timeout(60),
        exclusive(other, "work"),
    ):
        for errors in ((FencedError, LedgerUnavailableError), (FencedError,)):
            with pytest.raises(errors):
                async with owner.transaction() as connection:
                    await connection.execute("SELECT 1")


async def test_process_that_has_ended_raises_no_alert(ledger_settings: LedgerSettings):
    """It has no session left, so nobody need look at its host."""
    with capture_logs() as logs:
        async with process(ledger_settings) as other:
            async with process(ledger_settings) as ended:
                one_beat = {"owner": ended.owner, "times": 1}
                await until(lambda: other.fetch(BEATEN, one_beat))
            await until(lambda: "ended process forgotten" in [one["event"] for one in logs])
            assert not await other.fetch(BEATEN, one_beat)
    assert "critical" not in {one["log_level"] for one in logs}


async def test_a_process_takes_its_own_lease_again(ledger: Ledger):
    """After an error it starts over; what it left behind is fenced."""
    async with exclusive(ledger, "work") as before:
        pass
    async with exclusive(ledger, "work") as again, again.transaction() as connection:
        await connection.execute("SELECT 1")
    with pytest.raises(FencedError):
        async with before.transaction():
            pass


async def test_takeover_waits_for_the_transaction_of_the_owner(ledger: Ledger):
    """A transaction that has checked its epoch is whole before the next owner begins."""
    async with exclusive(ledger, "work") as owner:
        async with owner.transaction():
            taking = asyncio.create_task(exclusive(ledger, "work").__aenter__())
            await until(lambda: ledger.fetch("SELECT FROM pg_locks WHERE NOT granted"))
            assert not taking.done()
        await taking


async def test_ledger_clock_is_that_of_the_database(ledger: Ledger):
    """Whatever the clock of this host shows."""
    assert await _difference(ledger) < 60
    ledger.clock.read(0.0, 0.0, 0.0)
    ahead = asyncio.Event()
    living = asyncio.create_task(live(ledger, ahead))
    await ahead.wait()
    assert await _difference(ledger) < 60
    await cancel_all([living])


async def _difference(ledger: Ledger) -> float:
    """Return by how much the ledger's clock and the database's differ, in seconds."""
    (row,) = await ledger.fetch("SELECT extract(epoch FROM clock_timestamp())::float8 AS at")
    return abs(row["at"] - ledger.clock.now().timestamp())


async def test_process_of_another_ledger_shows_no_life_in_this_one(ledger: Ledger, postgres: str):
    """Two ledgers may be on one server, and their processes have the same number by chance."""
    async with await psycopg.AsyncConnection.connect(postgres, row_factory=dict_row) as other:
        await enter(other, "7")
        (row,) = await ledger.fetch("SELECT is_alive('7') AS alive, is_alone('8') AS alone")
    assert (row["alive"], row["alone"]) == (False, True)


async def add(ledger: Ledger, rows: int = 1) -> None:
    """Add rows to the outbox and commit them."""
    await ledger.fetch(INSERT, {"rows": rows})


async def deliver(ledger: Ledger, reader: OutboxReader, size: int = 2000) -> list[int]:
    """Read a page and delete it, as the relay does; return its ids."""
    async with ledger.transaction() as connection:
        ids = [row["id"] for row in await reader.next(connection, size)]
    if ids:
        await ledger.fetch(DELIVERED, {"ids": ids})
    return ids


async def deliver_all(ledger: Ledger, reader: OutboxReader) -> list[int]:
    """Deliver until nothing is left, and a few times more, so that the floor may rise."""
    return [one for _ in range(5) for one in await deliver(ledger, reader)]


async def blocks_read(ledger: Ledger, reader: OutboxReader) -> int:
    """Return how many blocks of the outbox one read visits; a new session has read none before."""
    async with uncommitted(ledger) as connection:
        assert await reader.next(connection, 2000)
        (found,) = await (await connection.execute(BLOCKS)).fetchall()
        return int(found["blocks"])


@asynccontextmanager
async def uncommitted(ledger: Ledger) -> AsyncIterator[Connection]:
    """Give a connection with an open transaction, rolled back if the test does not commit it."""
    async with ledger.session() as connection:
        await connection.set_autocommit(False)
        yield connection
        await connection.rollback()


async def test_outbox_read_under_an_old_snapshot_skips_delivered_rows(ledger: Ledger):
    """An old snapshot keeps ten thousand delivered rows alive; a read visits none of them."""
    reader = OutboxReader()
    async with uncommitted(ledger) as old:
        await old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await old.execute("SELECT FROM brands")
        for _ in range(5):
            await add(ledger, 2000)
            assert len(await deliver(ledger, reader)) == 2000
        assert await deliver_all(ledger, reader) == []
        await add(ledger)
        assert await blocks_read(ledger, reader) < 20
        assert await blocks_read(ledger, OutboxReader()) > 100, "nothing is kept alive here"


@pytest.mark.parametrize("before", [0, 3], ids=["first-id", "later-id"])
async def test_outbox_lower_id_committed_late_is_read(ledger: Ledger, before: int):
    """Its transaction took the id before those that are delivered already."""
    reader = OutboxReader()
    await add(ledger, before)
    await deliver_all(ledger, reader)
    async with uncommitted(ledger) as late:
        (lower,) = await (await late.execute(INSERT, {"rows": 1})).fetchall()
        await add(ledger, 2)
        assert await deliver_all(ledger, reader) == [lower["id"] + 1, lower["id"] + 2]
        await late.commit()
    await add(ledger)
    assert await deliver_all(ledger, reader) == [lower["id"], lower["id"] + 3]


@pytest.mark.parametrize(
    "reader",
    [OutboxReader(), OutboxReader(floor=1000, server=datetime(2026, 3, 2, tzinfo=UTC))],
    ids=["new", "of-another-server"],
)
async def test_outbox_first_id_taken_after_an_empty_read_is_read(
    ledger: Ledger, reader: OutboxReader
):
    """A sequence that was never used names its first id as the last; a standby that takes over
    hands out ids again that the lost server had handed out.
    """
    assert await deliver_all(ledger, reader) == []
    await add(ledger)
    assert await deliver_all(ledger, reader) == [1]


async def test_outbox_id_taken_by_a_copy_that_wrote_nothing_yet_is_read(
    ledger: Ledger, database_url: str
):
    """COPY takes ids before its first write, and until then its transaction has no number."""
    reader = OutboxReader()
    await add(ledger)
    await deliver_all(ledger, reader)
    async with await psycopg.AsyncConnection.connect(database_url) as late:
        async with late.cursor() as cursor, cursor.copy(COPY) as copy:
            # psycopg passes on what is above 32 KB at once, PostgreSQL writes rows above 64 KB; one
            # in 32 ids is logged, which gives the transaction its number.
            await copy.write(LINE * 10)
            await until(lambda: ledger.fetch(f"{LAST_ID} AND last_value > 1"))
            taken = (await ledger.fetch(LAST_ID))[0]["last_value"]
            await add(ledger)
            assert await deliver_all(ledger, reader) == [taken + 1]
        await late.commit()
    assert 2 in await deliver_all(ledger, reader)


async def test_outbox_floor_rises_below_a_row_that_is_not_delivered(ledger: Ledger):
    """A page that could not be published is read again."""
    reader = OutboxReader()
    await add(ledger, 3)
    for _ in range(5):
        async with ledger.transaction() as connection:
            assert [row["id"] for row in await reader.next(connection, 2)] == [1, 2]
    assert await deliver_all(ledger, reader) == [1, 2, 3]
