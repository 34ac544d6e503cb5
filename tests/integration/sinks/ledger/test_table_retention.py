"""Every table states how long it keeps a row, and what has expired goes."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import retention
from izin.sinks.ledger.history.retention import TABLES, delete_expired
from tests.integration.sinks.ledger.test_history import tampered
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay
from tests.support.builders import CUSTOMER, PHONE, a_key

pytestmark = pytest.mark.database

DAY = timedelta(days=1)


async def left(harness: SinkHarness, after: timedelta, **more: int) -> tuple[int, int]:
    """Delete what has expired after so long; return the submissions and items that are left."""
    await delete_expired(harness.ledger, now=harness.clock() + after, **more)
    (found,) = await harness.ledger.fetch(
        "SELECT (SELECT count(*) FROM submissions) AS submissions,"
        " (SELECT count(*) FROM submission_items) AS items"
    )
    return found["submissions"], found["items"]


async def hold(harness: SinkHarness, key: str | None) -> int:
    """Place a legal hold on our customer, or on one of its keys."""
    return await retention.hold(
        harness.ledger, CUSTOMER, key=key, reason="a dispute", by="ada", now=harness.clock()
    )


async def unstated(ledger: Ledger) -> set[str]:
    """Return the tables of the ledger without a stated retention, and those stated that are not."""
    rows = await ledger.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = current_schema()::regnamespace"
    )
    return TABLES.keys() ^ {row["relname"] for row in rows}


async def test_each_table_states_its_retention(ledger: Ledger):
    """A new table without one is named, and so is one that is stated and does not exist."""
    assert await unstated(ledger) == set()
    async with ledger.session() as connection:
        await connection.execute("CREATE TABLE notes (recipient text)")
        await connection.execute("DROP TABLE submission_items")
    assert await unstated(ledger) == {"notes", "submission_items"}


async def test_each_stated_period_is_enforced(ledger: Ledger, harness: SinkHarness):
    """Each table with a period is deleted from; the items go with their submissions."""
    deleted = await delete_expired(ledger, now=harness.clock())
    periods = {name for name, one in TABLES.items() if one.period is not None}
    assert deleted.keys() | {"submission_items"} == periods


async def test_settled_submission_goes_after_90_days(harness: SinkHarness):
    """With its items, and its call and answer stay in the history."""
    await harness.register(onay(), onay(a_phone(2)))
    assert await left(harness, 89 * DAY) == (1, 2)
    assert await left(harness, 91 * DAY) == (0, 0)
    history = await reads.history(harness.ledger, PHONE)
    assert {"decision", "call", "answer"} <= {fact.kind for fact in history.facts}
    assert (await harness.row()).state == "accepted"


async def test_submission_that_was_withdrawn_from_goes_too(harness: SinkHarness):
    """İYS refused one of a batch; the others were submitted again, with answers of their own."""
    await harness.ingest(onay(), onay(a_phone(2)))
    harness.iys.inject_fault("batchV2", status=403, code="H180")
    assert await harness.bulk()
    assert [await harness.settle() for _ in range(2)] == [True, True]
    states = await harness.ledger.fetch("SELECT DISTINCT state FROM submission_items ORDER BY 1")
    assert "withdrawn" in {row["state"] for row in states}
    assert await left(harness, 91 * DAY) == (0, 0)


async def test_unsettled_submission_stays(harness: SinkHarness):
    """However old it is."""
    await harness.ingest(onay())
    await harness.lose_batch()
    assert await left(harness, 3650 * DAY) == (1, 1)


@pytest.mark.parametrize("key", [None, str(a_key(recipient=PHONE))], ids=["customer", "key"])
async def test_submission_under_a_legal_hold_stays_until_its_release(
    harness: SinkHarness, key: str | None
):
    """And keeps back no other, in slices of one."""
    await harness.register_onay()
    await harness.register_onay(a_phone(2))
    number = await hold(harness, key)
    assert await left(harness, 91 * DAY, submissions=1) == ((2, 2) if key is None else (1, 1))
    await retention.release(harness.ledger, number, by="ada", now=harness.clock())
    assert await left(harness, 91 * DAY, submissions=1) == (0, 0)


@pytest.mark.parametrize("missing", ["call", "answer"])
async def test_submission_that_the_history_lacks_stays_with_an_alert(
    harness: SinkHarness, missing: str
):
    """A complaint about it could not be answered otherwise."""
    await harness.register_onay()
    await tampered(harness.ledger, f"DELETE FROM movements WHERE kind = '{missing}'")
    with capture_logs() as logs:
        assert await left(harness, 91 * DAY) == (1, 1)
    assert ("settled submissions not in the history", "critical") in {
        (log["event"], log["log_level"]) for log in logs
    }


async def test_open_item_keeps_its_submission(harness: SinkHarness):
    """Though the submission says that it is settled."""
    await harness.register_onay()
    await harness.ledger.fetch("UPDATE submission_items SET state = 'open' RETURNING key")
    assert await left(harness, 91 * DAY) == (1, 1)


async def test_other_expired_rows_go(harness: SinkHarness):
    """Released legal holds, and hours of calls; what is in force stays."""
    released, _ = await hold(harness, None), await hold(harness, "a key")
    now = harness.clock()
    await retention.release(harness.ledger, released, by="ada", now=now)
    await harness.ledger.fetch(
        "INSERT INTO rate_limit_hours"
        " SELECT 'test', %(now)s + n * interval '1 hour', 'o', 'c', 1, 0"
        " FROM generate_series(1, 2500) AS n RETURNING hour",
        {"now": now},
    )
    after = now + timedelta(days=90, hours=2400.5)
    deleted = await delete_expired(harness.ledger, now=after)
    assert (deleted["rate_limit_hours"], deleted["legal_holds"]) == (2400, 0)
    deleted = await delete_expired(harness.ledger, now=now + 3654 * DAY)
    assert (deleted["rate_limit_hours"], deleted["legal_holds"]) == (100, 1)
    assert [one.key for one in await retention.holds(harness.ledger)] == ["a key"]


async def test_worker_enforces_the_retention(harness: SinkHarness):
    """By its clock, and what goes is logged."""
    await harness.ingest_opt_out()
    await harness.opt_out()
    harness.advance(91 * DAY, at_iys=False)
    await delete_expired(harness.ledger, now=harness.clock())
    assert await left(harness, timedelta(0)) == (0, 0)
    assert await harness.bulk() is False
    assert (await harness.row()).desired_status == "RET"
