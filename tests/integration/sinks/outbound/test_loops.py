"""The loops of a worker are woken for whatever they may claim, though nobody notifies them."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from psycopg.errors import CheckViolation

from izin.consent import State
from izin.ledger.db import Connection, Notifications, fetch, statements
from izin.runtime.settings import SinkSettings
from izin.sinks.outbound import loops
from tests.integration.sinks.sink_harness import SinkHarness, ret

pytestmark = pytest.mark.database
_SQL = statements("claims")
CLAIMS = {
    "claimable-channels": {"sendable"},
    "claim": {"sendable"},
    "claim-unknown": {"sendable"},
    "claim-last-hour": {"expiring"},
    "claim-expired": {"expiring"},
    "claim-to-query": {"to query"},
    "to-query": {"to query"},
    "swept": {"to query"},
    "claim-swept": {"to query"},
}
"""What each statement claims is of one of these kinds of open work."""
COLUMNS = ("state", "action", "reason", "brake_id", "desired_status", "ends", "onay_open")
"""What the claims look at; ``ends``: in how many minutes the term does."""
WORK = (
    *(("send", None, None), ("send", None, 1)),
    *(("query", "read-back", None), ("query", "swept", None)),
    *(("nothing", None, None), ("nothing", None, 1)),
)
WISHES = (("RET", 30, False), ("ONAY", 30, False), ("ONAY", -1, False), ("ONAY", 30, True))


def rows() -> Iterator[Mapping[str, Any]]:
    """Yield what a row may be."""
    for state, work, wish in product(State, WORK, WISHES):
        yield dict(zip(COLUMNS, (str(state), *work, *wish), strict=True))


async def claimed(connection: Connection, values: Mapping[str, Any]) -> set[str]:
    """Return the statements that would claim something now."""
    return {name for name in CLAIMS if await fetch(connection, _SQL[name], values)}


async def test_whatever_may_be_claimed_is_open_work(harness: SinkHarness):
    """Each row that a statement claims, of every state, action and reason that it may have."""
    await harness.ingest(ret())
    now, seen = harness.clock(), set[str]()
    values = {
        **harness.context.lease_owner.who,
        "brand_code": 100001,
        "channel": "MESAJ",
        "recipient_type": "BIREYSEL",
        "of_onay": None,
        "overdue": False,
        "now": now,
        "until": now + timedelta(hours=1),
        "size": 1,
    }
    async with harness.ledger.transaction() as connection:
        await connection.execute("ALTER TABLE consents DISABLE TRIGGER USER")
        await connection.execute("UPDATE consents SET due_at = %s", [now + timedelta(days=2)])
        for row in rows():
            try:
                async with connection.transaction():
                    await connection.execute(
                        "UPDATE consents SET state = %(state)s, action = %(action)s,"
                        " reason = %(reason)s, desired_status = %(desired_status)s,"
                        " brake_id = %(brake_id)s, onay_open = %(onay_open)s, expires_at ="
                        " %(now)s::timestamptz + %(ends)s * interval '1 minute'",
                        {**row, "now": now},
                    )
            except CheckViolation:
                continue
            both = values | {"status": row["desired_status"]}
            taken = await claimed(connection, both)
            kinds = {one["kind"] for one in await fetch(connection, _SQL["open-work"], both)}
            assert all(kinds & CLAIMS[name] for name in taken), (row, taken, kinds)
            seen |= taken
    assert seen == set(CLAIMS)


async def test_every_loop_that_waits_is_woken_by_some_kind_of_work(harness: SinkHarness):
    """Else it would look twice a minute."""
    sink = SinkSettings()
    found = list(loops.outbound_loops(harness.context, sink, Notifications(), asyncio.Event()))
    for _, loop in found:
        loop.close()
    by_themselves = {
        *("open work", "egress addresses", "leases", "leases of failed steps"),
    }
    lanes = [name for one in loops._LANES.values() for name in one]
    assert {name.rstrip(" 0123456789") for name, _ in found} - by_themselves == set(lanes)
    assert len(lanes) == len(set(lanes))
    assert set(lanes) >= loops._SELDOM_LANES
