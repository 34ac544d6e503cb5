"""Reads of the outbox start at a floor that no row can be committed below."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.publish.publisher import OutboxReader
from tests.integration.sinks.sink_harness import until

pytestmark = pytest.mark.database

DELIVERED = statements("outbox")["delivered"]
INSERT = """INSERT INTO outbox (customer_id, topic, key, value, headers, occurred_at)
    SELECT 'acme', 'topic', 'key', 'value', '{}', now() FROM generate_series(1, %(rows)s)
    RETURNING id"""
COPY = "COPY outbox (customer_id, topic, key, value, headers, occurred_at) FROM STDIN"
LINE = f"acme\ttopic\tkey\t{'x' * 4000}\t{{}}\t2026-03-02 09:00:00+00\n"
BLOCKS = """SELECT pg_stat_get_xact_blocks_fetched('outbox'::regclass)
    + pg_stat_get_xact_blocks_fetched('outbox_pkey'::regclass) AS blocks"""
LAST_ID = "SELECT last_value FROM outbox_id_seq WHERE is_called"


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


async def test_outbox_first_id_taken_after_an_empty_read_is_read(ledger: Ledger):
    """A sequence that was never used names its first id as the last."""
    reader = OutboxReader()
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

            async def is_taken() -> bool:
                return (await ledger.fetch(LAST_ID))[0]["last_value"] > 1

            await until(is_taken)
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


async def test_outbox_floor_of_another_server_is_not_used(ledger: Ledger):
    """A standby that takes over hands out ids again that the lost server had handed out."""
    reader = OutboxReader(floor=1000, server=datetime(2026, 3, 2, tzinfo=UTC))
    await add(ledger)
    assert await deliver_all(ledger, reader) == [1]
