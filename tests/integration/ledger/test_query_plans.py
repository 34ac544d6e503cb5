"""The database enforces transitions, and an append-only history.

What is due, parked and unknown is found by indexes, however many keys are settled.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from benchmarks.sink.fixture import SinkFixture, sink_fixture
from izin.consent import TURKEY, TURKEY_CALENDAR, Calendar, State, Status, due_at, expires_at
from izin.consent.transitions import WRITTEN_CHANGES
from izin.ledger import reads
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.record import LISTS, TYPES, IllegalChangeError, LedgerFaultError
from izin.runtime.settings import KafkaSettings
from tests.integration.ledger.test_erasure import anchor_writer
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
    [
        "UPDATE history SET kind = 'act'",
        "DELETE FROM history",
        "TRUNCATE history",
        "DELETE FROM anchors",
    ],
)
async def test_history_is_append_only(harness: SinkHarness, statement: str):
    """The database refuses UPDATE, DELETE and TRUNCATE; so are its anchors."""
    await harness.ingest(onay())
    await anchor_writer(harness.ledger, None).anchor()
    with pytest.raises(LedgerFaultError, match="history_append_only"):
        async with harness.ledger.transaction() as connection:
            await connection.execute(statement)  # type: ignore[arg-type]


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


NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LANE = {
    "brand_code": 100001,
    "channel": "MESAJ",
    "recipient_type": "BIREYSEL",
    "of_onay": None,
    "now": NOW,
    "until": NOW + timedelta(hours=1),
    "size": 1000,
    "most": 51,
    "overdue": False,
    "reason": None,
    "permissions": "permissions",
    "after": "",
    "ours": 0,
    "account": "ada",
    "customer_id": None,
    "address": "192.0.2.1",
    "addresses": ["192.0.2.1"],
}
QUERIES = [
    ("claims", "open-work", {}),
    ("claims", "claimable-channels", {"status": "RET"}),
    ("claims", "claimable-channels", {"status": "ONAY"}),
    ("claims", "claim", {"status": "ONAY"}),
    ("claims", "claim", {"status": "RET", "of_onay": True}),
    ("claims", "opt-outs-waiting", {}),
    ("claims", "claim-unknown", {}),
    ("claims", "claim-last-hour", {}),
    ("claims", "claim-expired", {}),
    ("claims", "claim-to-query", {}),
    ("claims", "to-query", {}),
    ("claims", "swept", {}),
    ("claims", "claim-swept", {}),
    ("sweeps", "page", {"after": "100001/"}),
    (
        *("consents", "claim-parked"),
        {"keys": ["100001/MESAJ/BIREYSEL/+905400000001"], "event_ids": ["x"], "since": [NOW]},
    ),
    ("consents", "lock", {"keys": ["100001/MESAJ/BIREYSEL/+905400000001"]}),
    ("ownership", "adopt-page", {"customer_id": "beta"}),
    ("deadlines", "margins", {}),
    ("deadlines", "suspended-opt-outs", {}),
    ("reads", "lag", {}),
    ("reads", "backlog", {}),
    ("reads", "parked", {}),
    ("reads", "keys-of", {"recipients": ["+905550000001"]}),
]


def nodes(plan: Any) -> Iterator[Any]:  # noqa: ANN401  # PostgreSQL's JSON
    """Yield the steps of a plan."""
    yield plan
    for one in plan.get("Plans", []):
        yield from nodes(one)


def scanned(plan: Any) -> set[str]:  # noqa: ANN401  # PostgreSQL's JSON
    """Return the tables that a plan reads from end to end."""
    return {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}


def indexes(plan: Any) -> set[str]:  # noqa: ANN401  # PostgreSQL's JSON
    """Return the indexes that a plan looks into."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


async def plan_of(ledger: SinkFixture, file: str, name: str, more: dict[str, Any]) -> Any:  # noqa: ANN401  # PostgreSQL's JSON
    """Return PostgreSQL's plan of a statement."""
    async with ledger.ledger.transaction() as connection:
        return await explained(connection, statements(file)[name], {**LANE, **more})


async def explained(
    connection: Connection, statement: str, values: dict[str, Any] | None = None, *options: str
) -> Any:  # noqa: ANN401  # PostgreSQL's JSON
    """Return PostgreSQL's plan of a statement, explained with ``options``."""
    explain = f"EXPLAIN ({', '.join([*options, 'FORMAT JSON'])}) {statement}"
    (row,) = await (await connection.execute(explain.encode(), values)).fetchall()
    return row["QUERY PLAN"][0]["Plan"]


async def test_queries_of_the_loops_do_not_scan_settled_rows(database_url: str):
    """Of a thousand keys all but one are settled: each query finds its rows by an index, and the
    check detects one that does not.

    The table is small for a ledger: a scan of a larger one costs more, so it is chosen less.
    """
    async with sink_fixture(database_url, KafkaSettings(), keys=99_900) as ledger:
        await ledger.add_pending(database_url, 100)
        for file, name, more in QUERIES:
            assert "consents" not in scanned(await plan_of(ledger, file, name, more)), (file, name)
        assert "consents" in scanned(await plan_of(ledger, "reads", "counts", {}))
        async with ledger.ledger.transaction() as connection:
            await connection.execute(statements("consents")["stage"])
            staged = ", ".join(LISTS["bulk"])
            await connection.execute(
                f"INSERT INTO staged_rows SELECT 0, {staged} FROM consents LIMIT 1000".encode()
            )
            saving = statements("consents")["save-staged"]
            assert "consents" not in scanned(await explained(connection, saving, {"slice": 0}))


async def test_history_of_a_key_is_found_by_index(database_url: str):
    """In every month's partition; breaches, and what İYS showed on a day, without a scan."""
    async with sink_fixture(database_url, KafkaSettings(), keys=0) as ledger:
        await ledger.ingest(ledger.decisions(5_000))
        async with ledger.ledger.session() as connection:
            await connection.execute("ANALYZE history")
        for file, name, more in (
            ("reads", "history", {"keys": ["100001/MESAJ/BIREYSEL/+905550000000"]}),
            ("history", "known", {"keys": ["x"], "sources": ["y"], "since": NOW}),
            ("history", "decisions-of", {"keys": ["x"]}),
            ("deadlines", "breaches", {}),
            ("daily", "has-own", {"brand": "100001", "first": "2026-03-02", "end": "2026-03-03"}),
            ("flows", "opt-outs", {"since": NOW}),
            ("latency", "changes", {"since": NOW, "opt_outs": True, "most": 1000, "brand": None}),
            ("flows", "flow", {"since": datetime.now(UTC) + timedelta(1), "no_refusals": ["x"]}),
        ):
            plan = await plan_of(ledger, file, name, more)
            assert not {one for one in scanned(plan) if one.startswith("history")}, name
        first = datetime.now(UTC).date().replace(day=1)
        everything = await plan_of(
            ledger, "history", "between", {"since": first, "until": first + timedelta(days=32)}
        )
        assert {one for one in scanned(everything) if one.startswith("history")}


@pytest.mark.parametrize("name", ["save", "await-result"])
async def test_bulk_statements_join_rows_without_nested_scans(ledger: Ledger, name: str):
    """A generic plan expects few rows, and to join each with each takes half a second."""
    numbers: dict[str, str] = {}
    statement = re.sub(
        r"%\((\w+)\)s",
        lambda found: numbers.setdefault(found[1], f"${len(numbers) + 1}"),
        statements("consents")[name],
    )
    async with ledger.session() as connection:
        plan = await explained(connection, statement, None, "GENERIC_PLAN")
    kinds = [node["Node Type"] for node in nodes(plan)]
    assert kinds.count("Function Scan") == 1, kinds


async def test_items_of_a_submission_are_found_by_primary_key(database_url: str):
    """Not by the index of open items, though none was open when the table was last analyzed."""
    explain = {"id": 7, "state": "accepted", "code": None, "places": [0, 1, 2]}
    async with sink_fixture(database_url, KafkaSettings(), keys=0) as ledger:
        async with ledger.ledger.session() as connection:
            await connection.execute(
                "INSERT INTO submission_items (submission_id, index, customer_id, key, event_id,"
                " status, attempt, origin, state)"
                " SELECT n / 1000, n % 1000, 'acme', 'key-' || n, 'event-' || n, 'ONAY', 1, 'crm',"
                " 'accepted' FROM generate_series(1, 100000) AS n"
            )
            await connection.execute("ANALYZE submission_items")
        for name in ("items", "settle-items", "settle"):
            used = indexes(await plan_of(ledger, "submissions", name, explain))
            assert "submission_items_pkey" in used, name
            assert "submission_items_open" not in used, name
