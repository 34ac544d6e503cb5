"""History is kept as long as it must be, and is dropped without breaking its chains.

Every table states how long it keeps a row, and what has expired goes.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from izin.consent import decide
from izin.ledger import reads, retention
from izin.ledger.daily import files
from izin.ledger.db import Ledger, statements
from izin.ledger.history import append, verify
from izin.ledger.record import LedgerFaultError, TopicMessages, apply
from izin.ledger.retention import TABLES, delete_expired
from izin.ledger.unit_of_work import unit_of_work
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.ledger.test_erasure import anchor_writer, faults
from tests.integration.ledger.test_history import an_act, tampered
from tests.integration.ledger.test_query_plans import explained, nodes
from tests.integration.sinks.sink_harness import Izin, SinkHarness, a_phone, acts, ended, onay
from tests.support.builders import CUSTOMER, PHONE, a_decision_record, a_key, an_admitted_event

pytestmark = pytest.mark.database
MESSAGES = TopicMessages(Codec(), Topics())
JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
LATER = datetime(2036, 2, 15, tzinfo=UTC)
"""When January's ten years are over and February's are not."""
KEY = "100001/MESAJ/BIREYSEL/+905550000003"
DAY = timedelta(days=1)


async def written(
    ledger: Ledger, month: int, *sources: str, year: int = 2026, key: str = "x"
) -> None:
    """Record facts in a month."""
    now = datetime(year, month, 10, tzinfo=UTC)
    async with ledger.transaction() as connection:
        facts = [replace(an_act(one, now), key=key) for one in sources]
        await append.append(connection, facts, now=now)


async def with_daily_files(ledger: Ledger, *days: date) -> None:
    """Note İYS's files of these days, each on its day."""
    brand = "INSERT INTO brands (brand_code, iys_code, customer_id, name, updated_at) VALUES"
    async with ledger.transaction() as connection:
        await connection.execute("INSERT INTO customers VALUES ('acme', 'Acme', now())")
        await connection.execute(f"{brand} (1, 1, 'acme', 'One', now())".encode())
        await connection.execute(
            "INSERT INTO daily_files (brand_code, day, state, noted_at, next_attempt_at)"
            " SELECT 1, d, 'empty', d, d FROM unnest(%(days)s::date[]) AS d",
            {"days": list(days)},
        )


@pytest.fixture
async def file(ledger: Ledger, tmp_path: Path) -> Path:
    """Give the file in which three months of history are anchored."""
    await written(ledger, 1, "1", "2")
    await written(ledger, 2, "3")
    await written(ledger, 3, "4", "5")
    file = tmp_path / "anchors.jsonl"
    await anchor_writer(ledger, file).anchor()
    return file


async def test_drop_expired_month_leaves_a_history_that_verifies(ledger: Ledger, file: Path):
    """It starts from the last link of what was dropped, once that is anchored outside. The daily
    files that were noted in the month go with it.
    """
    await with_daily_files(ledger, JANUARY + timedelta(9), FEBRUARY + timedelta(9))
    (gone,) = await retention.drop(ledger, MESSAGES, by="ada", now=LATER)
    assert gone.month == JANUARY
    assert [one.day.month for one in await files.since(ledger, JANUARY)] == [2]
    kept = [one.month for one in await retention.months(ledger)]
    assert kept == [FEBRUARY, MARCH, LATER.date().replace(day=1)]
    await anchor_writer(ledger, file).anchor()
    found = await verify.verify(ledger, verify.read_anchors(file))
    assert (found.rows, found.faults) == (4, ())
    assert await acts(ledger, key="retention/2026-01") == [
        {
            "act": "drop month",
            "by": "ada",
            "before": {"kept until": "2036-02-01"},
            "after": {"cuts": {"0": 2}},
        }
    ]
    await written(ledger, 3, "6")
    assert await faults(ledger, file) == []


async def test_changed_row_after_a_dropped_month_is_found(ledger: Ledger, file: Path):
    """Later months are verified as before."""
    await retention.drop(ledger, MESSAGES, by="ada", now=LATER)
    await anchor_writer(ledger, file).anchor()
    await tampered(ledger, "UPDATE history SET status = 'RET' WHERE place = 3")
    assert await faults(ledger, file) == ["the row was changed, moved or inserted"]


@pytest.mark.usefixtures("file")
async def test_hold_keeps_its_month_and_later_ones(ledger: Ledger):
    """A hold of a key keeps its months; one of another customer keeps nothing."""
    now = datetime.now(UTC)
    await retention.hold(ledger, "another", key=None, reason="court", by="ada", now=now)
    number = await retention.hold(ledger, "acme", key="x", reason="court", by="ada", now=now)
    assert await retention.drop(ledger, MESSAGES, by="ada", now=LATER) == ()
    *held, current = [one.holds for one in await retention.months(ledger)]
    assert held == [(number,)] * 3
    assert current == (1, number)  # the acts themselves
    assert await retention.release(ledger, number, by="ada", now=now)
    assert not await retention.release(ledger, number, by="ada", now=now)
    assert [one.month for one in await retention.drop(ledger, MESSAGES, by="ada", now=LATER)] == [
        JANUARY
    ]


@pytest.mark.parametrize("analysed", [False, True])
async def test_holds_are_looked_up_and_no_month_is_scanned(ledger: Ledger, *, analysed: bool):
    """Whatever PostgreSQL knows of it: of a customer who has most of it, and of one with none."""
    await written(ledger, 1, *map(str, range(3000)))
    now = datetime.now(UTC)
    for customer, key in (("acme", None), ("another", None), ("acme", "x"), ("acme", "y")):
        await retention.hold(ledger, customer, key=key, reason="court", by="ada", now=now)
    async with ledger.session() as connection, connection.transaction():
        if analysed:
            await connection.execute("ANALYZE history")
        await connection.execute(statements("retention")["by-index"], {"by_index": True})
        held = statements("retention")["held"]
        steps = [*nodes(await explained(connection, held, {"month": JANUARY}))]
    of_month = [one for one in steps if one.get("Relation Name") == "history_2026_01"]
    assert {(one["Node Type"], one["Index Name"]) for one in of_month} == {
        ("Index Scan", "history_2026_01_customer"),
        ("Index Scan", "history_2026_01_hashtextextended_idx"),
    }
    assert {one["Relation Name"] for one in steps if one["Node Type"] == "Seq Scan"} == {
        "legal_holds"
    }
    january, *_ = await retention.months(ledger)
    assert january.holds == (1, 3)


@pytest.mark.usefixtures("file")
async def test_hold_placed_while_a_month_is_dropped_keeps_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    """It is looked for again once nobody can place one any more, and no chain is cut."""
    expired = retention.expired

    async def held_after(ledger: Ledger, *, today: date) -> tuple[retention.Month, ...]:
        found = await expired(ledger, today=today)
        now = datetime.now(UTC)
        await retention.hold(ledger, "acme", key="x", reason="court", by="ada", now=now)
        return found

    monkeypatch.setattr(retention, "expired", held_after)
    assert await retention.drop(ledger, MESSAGES, by="ada", now=LATER) == ()
    assert await ledger.fetch("SELECT * FROM chain_cuts") == []


@pytest.mark.usefixtures("file")
async def test_month_is_not_dropped_before_an_earlier_one(ledger: Ledger):
    """The database refuses it too."""
    later, now = date(2040, 3, 1), datetime.now(UTC)
    assert await retention.retain(ledger, JANUARY, until=later, by="ada", now=now)
    assert not await retention.retain(ledger, date(2020, 1, 1), until=later, by="ada", now=now)
    assert await retention.expired(ledger, today=date(2038, 1, 1)) == ()
    with pytest.raises(LedgerFaultError, match="history_append_only"):
        await ledger.fetch("SELECT drop_month('2026-02-01', now())")


@pytest.mark.usefixtures("file")
async def test_month_is_kept_for_ten_years_at_least(ledger: Ledger):
    """The database refuses less, and to drop the current month."""
    now = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    with pytest.raises(LedgerFaultError, match="history_months_ten_years"):
        await retention.retain(ledger, JANUARY, until=date(2036, 1, 31), by="ada", now=now)
    with pytest.raises(LedgerFaultError, match="history_append_only"):
        await ledger.fetch("SELECT drop_month('2026-01-01', %(now)s)", {"now": now})
    january = (await retention.months(ledger))[0]
    assert january.least == date(2036, 2, 1)
    assert january.kept_by is None
    gone = replace(january, retain_until=date(2026, 1, 1))
    assert not gone.may_go(now.date())
    assert gone.may_go(date(2026, 2, 1))


@pytest.mark.parametrize(
    ("status", "given_at", "is_kept"),
    [
        ("ONAY", datetime(2026, 1, 5, tzinfo=UTC), True),
        ("RET", datetime(2034, 6, 1, tzinfo=UTC), True),
        ("RET", datetime(2027, 6, 1, tzinfo=UTC), False),
    ],
)
async def test_month_is_kept_while_a_consent_in_it_may_be_asked_for(
    ledger: Ledger, status: str, given_at: datetime, is_kept: bool
):
    """Ten years after the act are not enough where the consent stands, or ended lately."""
    await written(ledger, 1, "1", key=KEY)
    event = an_admitted_event(status=status, recipient="+905550000003")
    row = apply.decided(None, a_decision_record(decide(None, event)), LATER)
    if status == "RET":
        row = row.replace(latest_ret_at=given_at)
    async with unit_of_work(ledger, MESSAGES, LATER) as changes:
        changes.put(None, row)
    expired = await retention.expired(ledger, today=LATER.date())
    dropped = await retention.drop(ledger, MESSAGES, by="ada", now=LATER)
    assert [one.month for one in expired] == ([] if is_kept else [JANUARY])
    assert dropped == expired


async def test_retention_dropped_month_is_written_again(ledger: Ledger):
    """A fact of a dropped month creates the month again, and stops no writer."""
    await written(ledger, 1, "1")
    await ledger.fetch("SELECT drop_month('2026-01-01', '2026-02-01')")
    await written(ledger, 1, "2")
    (january,) = await retention.months(ledger)
    assert january.retain_until >= january.least


@pytest.fixture
def run(izin: Izin) -> Izin:
    """Give the function that runs ``izin retention``."""
    return partial(izin, "retention")


@pytest.mark.usefixtures("file")
async def test_set_shortens_retention_with_yes_only(ledger: Ledger, run: Izin):
    """The change is recorded with a name, and never below the legal minimum."""
    for words, code, said in (
        (("2026-01", "2040-01-01", "--by=cem"), 0, ()),
        (("2026-01", "2040-01-01"), 0, ("already",)),
        (("2026-01", "2038-01-01"), 0, ("2040-01-01 -> 2038-01-01", "--execute")),
        (("2026-01", "2036-01-31", "--execute"), 3, ("m.11/3", "2036-02-01 at least")),
        (("2026-1", "2040-01-01"), 3, ()),
        (("2020-01", "2040-01-01"), 3, ()),
    ):
        ended(await run("set", *words), code, *said)
        assert (await retention.months(ledger))[0].retain_until == date(2040, 1, 1)
    ended(await run("set", "2026-01", "2038-01-01", "--by", "ada", "--execute"), 0)
    assert [
        (one["by"], one["before"], one["after"])
        for one in await acts(ledger, key="retention/2026-01")
    ] == [
        ("cem", {"kept until": "2036-02-01"}, {"kept until": "2040-01-01"}),
        ("ada", {"kept until": "2040-01-01"}, {"kept until": "2038-01-01"}),
    ]
    january = (await retention.months(ledger))[0]
    assert (january.retain_until, january.kept_by) == (date(2038, 1, 1), "ada")


async def test_hold_of_unknown_customer_or_key_is_refused(ledger: Ledger, run: Izin):
    """A key may be written in any form."""
    await written(ledger, 1, "1", key=KEY)
    court = ("hold", "acme", "--reason", "court")
    ended(await run(*court, "--recipient", "100001/MESAJ/BIREYSEL/0555 000 00 03"), 0, KEY)
    ended(await run(*court), 0)
    assert [one.key for one in await retention.holds(ledger)] == [KEY, None]
    ended(await run("hold", "nobody", "--reason", "court"), 3, "no customer nobody")
    for stranger in ("0555 000 00 09", f"{KEY}9", "ada"):
        ended(await run(*court, "--recipient", stranger), 3)
    ended(await run("hold", "acme", "--reason", " "), 2)
    assert len(await retention.holds(ledger)) == 2


async def test_drop_acts_with_yes_only(ledger: Ledger, run: Izin):
    """Without it, the command shows what would be dropped."""
    await written(ledger, 1, "1", year=2015, key=KEY)
    await written(ledger, 2, "2", year=2020)
    ended(await run("hold", "acme", "--reason", "court", "--recipient", KEY), 0)
    assert "court" in ended(await run("holds", "--output", "json"), 0).stdout
    ended(await run("drop"), 0, "nothing can be dropped")
    for code in (0, 3):
        ended(await run("release", "1"), code)
    ended(await run("drop"), 0, "1 months of history would be dropped")
    assert (await retention.months(ledger))[0].month == date(2015, 1, 1)
    ended(await run("drop", "--by", "ada", "--execute"), 0, "are dropped")
    output = ended(await run("list", "--output", "json"), 0).stdout
    assert ("2015-01" in output, "2020-02" in output) == (False, True)
    assert [one["by"] for one in await acts(ledger, key="retention/2015-01")] == ["ada"]


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
    await harness.meet_fault("batchV2", harness.bulk, status=403, code="H180")
    assert [await harness.settle() for _ in range(2)] == [True, True]
    assert await harness.ledger.fetch("SELECT FROM submission_items WHERE state = 'withdrawn'")
    assert await left(harness, 91 * DAY) == (0, 0)


async def test_unsettled_submission_stays(harness: SinkHarness):
    """However old it is."""
    await harness.lose_batch(onay())
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
    await tampered(harness.ledger, f"DELETE FROM history WHERE kind = '{missing}'")
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
    deleted = await delete_expired(harness.ledger, now=now + timedelta(days=90, hours=2400.5))
    assert (deleted["rate_limit_hours"], deleted["legal_holds"]) == (2400, 0)
    deleted = await delete_expired(harness.ledger, now=now + 3654 * DAY)
    assert (deleted["rate_limit_hours"], deleted["legal_holds"]) == (100, 1)
    assert [one.key for one in await retention.holds(harness.ledger)] == ["a key"]
