"""The database enforces transitions, append-only history, a shared pace and a shared token."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from izin.consent import TURKEY, TURKEY_CALENDAR, Calendar, State, Status, due_at, expires_at
from izin.consent.transitions import WRITTEN_CHANGES
from izin.iys.rate_limit import CallClass, Pace
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import TYPES, IllegalChangeError, LedgerFaultError
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, onay, ret

pytestmark = pytest.mark.database


async def test_database_allows_exactly_the_transitions_of_the_table(harness: SinkHarness):
    """Every pair of states is tried; the term ends later, without which none of it comes back."""
    await harness.ingest(onay())
    allowed = set()
    for state in State:
        for target in State:
            if state is target:
                continue
            try:
                async with harness.ledger.transaction() as connection:
                    await connection.execute("ALTER TABLE consents DISABLE TRIGGER consents_lawful")
                    await connection.execute(
                        "UPDATE consents SET state = %s, reason = 'term-ended'", [str(state)]
                    )
                    await connection.execute("ALTER TABLE consents ENABLE TRIGGER consents_lawful")
                    await connection.execute(
                        "UPDATE consents SET state = %s, expires_at = expires_at + '1 day'",
                        [str(target)],
                    )
            except IllegalChangeError:
                continue
            allowed.add((state, target))
    assert allowed == WRITTEN_CHANGES


@pytest.mark.parametrize(
    "statement",
    ["UPDATE history SET kind = 'act'", "DELETE FROM history", "TRUNCATE history"],
)
async def test_history_is_append_only(harness: SinkHarness, statement: str):
    """The database refuses UPDATE, DELETE and TRUNCATE."""
    await harness.ingest(onay())
    with pytest.raises(LedgerFaultError, match="history_append_only"):
        async with harness.ledger.transaction() as connection:
            await connection.execute(statement)  # type: ignore[arg-type]


async def test_pacers_of_an_address_share_its_pace(ledger: Ledger):
    """Ten calls of two processes take as long as ten calls of one."""
    pacers = [LedgerPacer(ledger, Pace(rate=50), address="one") for _ in range(2)]
    await pacers[0].begin()
    began = time.monotonic()
    await asyncio.gather(*(pacers[n % 2].wait(CallClass.BULK, "add") for n in range(20)))
    assert time.monotonic() - began > 18 / 50


async def test_opt_out_takes_a_slot_before_waiting_bulk(ledger: Ledger):
    """The most urgent call takes the next slot."""
    pacer = LedgerPacer(ledger, Pace(rate=50), address="one")
    await pacer.begin()
    left: list[CallClass] = []

    async def leave(call_class: CallClass) -> None:
        await pacer.wait(call_class, "add")
        left.append(call_class)

    bulk = [asyncio.create_task(leave(CallClass.BULK)) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.gather(leave(CallClass.RET), *bulk)
    assert CallClass.RET in left[:2]


async def test_throttled_call_halves_the_pace_of_the_address(ledger: Ledger):
    """H124 does it once for a burst, and never to zero."""
    pacer = LedgerPacer(ledger, Pace(rate=50), address="one")
    await pacer.begin()
    await pacer.throttled()
    await pacer.throttled()
    rows = await ledger.fetch("SELECT factor FROM rate_limits")
    assert rows[0]["factor"] == 0.5
    for _ in range(4):
        await ledger.fetch("UPDATE rate_limits SET paused_until = clock_timestamp() RETURNING 1")
        await pacer.throttled()
    rows = await ledger.fetch("SELECT factor FROM rate_limits")
    assert rows[0]["factor"] == Pace().slowest


async def test_closed_days_of_the_settings_lengthen_terms(harness: SinkHarness):
    """Terms are computed again when their brand is added again."""
    today = datetime.now(TURKEY).date()
    closed = Calendar(extra_closed_days=frozenset(today + timedelta(days=n) for n in range(1, 10)))
    harness.ledger.calendar = closed
    event = onay("+905550000001")
    await harness.ingest(event)
    entry = await harness.row("+905550000001")
    assert entry.due_at == due_at(event.consent_date, ACTIVE.clock, calendar=closed)
    assert entry.expires_at == expires_at(event.consent_date, ACTIVE.clock, calendar=closed)
    assert entry.expires_at - event.consent_date > timedelta(days=10)
    harness.ledger.calendar = TURKEY_CALENDAR
    await harness.brand()
    entry = await harness.row("+905550000001")
    assert entry.expires_at == expires_at(event.consent_date, ACTIVE.clock)


async def test_backlog_is_grouped_by_deadline_and_suspension(harness: SinkHarness):
    """A suspension of one status affects only that status."""
    opt_ins = [onay(f"+90555000000{n}", minutes=10 + n) for n in range(3)]
    await harness.ingest(*opt_ins, ret("+905550000009"))
    found = await reads.backlog(harness.ledger)
    assert {(one.status, one.count) for one in found.ready} >= {(Status.RET, 1)}
    assert sum(one.count for one in found.ready if one.status is Status.ONAY) == 3
    assert not found.suspended
    earliest = min(one.due_at for one in found.ready if one.status is Status.ONAY)
    assert earliest == due_at(opt_ins[-1].consent_date, ACTIVE.clock)
    await harness.suspend("H525", status="ONAY")
    found = await reads.backlog(harness.ledger)
    assert [(one.status, one.expires_at, one.count) for one in found.ready] == [
        (Status.RET, None, 1)
    ]
    assert sum(one.count for one in found.suspended) == 3
    await harness.brand(replace(ACTIVE, status="stopped"))
    found = await reads.backlog(harness.ledger)
    assert not found.ready
    assert sum(one.count for one in found.suspended) == 4


async def test_columns_of_code_and_table_are_equal(harness: SinkHarness):
    """With their types: statements, COPY and templates take them from one list."""
    rows = await harness.ledger.fetch(
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = 'consents'::regclass AND attnum > 0"
    )
    assert {row["name"]: row["type"] for row in rows} == TYPES
