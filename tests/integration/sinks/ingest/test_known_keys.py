"""Known keys that change in bulk become what they become one by one."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from izin.consent import (
    BOOTSTRAP,
    TURKEY_CALENDAR,
    Channel,
    ConsentEvent,
    ConsentKey,
    Observation,
    RecipientType,
    Registered,
)
from izin.ledger import offsets, unit_of_work as unit_of_work_module
from izin.ledger.bulk import saving
from izin.ledger.bulk.alike import OutcomeTemplate, PermissionTemplate
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.history import HistoryEntry
from izin.ledger.record import READ_BACK, ConsentRow, TopicMessages, permitted_row, to_json
from izin.ledger.unit_of_work import UnitOfWork
from izin.runtime.settings import LedgerSettings
from izin.schemas.topics import Topics
from izin.sinks.inbound.movements import ObservedMovement, observe
from izin.sinks.ingest.batch import Batch
from tests.integration.sinks.ingest.test_bulk_rows import (
    BRANDS,
    CODEC,
    NOW,
    TOPIC,
    WRITTEN,
    decisions_on,
    ingester,
    prepared,
    two_ledgers,
)
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import NOON, an_event

pytestmark = pytest.mark.database

ALIKE = 3
"""So many keys are in each case: the first is the template of the others."""
CASES = 240
BEFORE, AFTER = NOON - timedelta(days=2), NOON + timedelta(minutes=3)
OBLIGATIONS = [
    ("accepted", "nothing", "settled"),
    ("accepted", "nothing", "settled"),
    ("not_needed", "nothing", "settled"),
    ("not_needed", "query", READ_BACK),
    ("not_needed", "rescue", "rescued"),
    ("pending", "send", "not-registered"),
    ("pending", "wait", "in-flight"),
    ("pending", "query", "registered-lost"),
    ("retryable", "send", "not-registered"),
    ("parked", "nothing", "reconsent"),
    ("refused", "nothing", "refused"),
    ("expired", "nothing", "term-ended"),
    ("awaiting_result", "nothing", "not-registered"),
    ("unknown", "query", "no-response"),
]
UNUSUAL = [
    {"retailer_code": 11111111, "retailer_access": (22222222,)},
    {"brake_id": 4},
    {"withdrawn_at": NOON},
    {"next_attempt_at": NOW},
]


def instant(random: Random, *around: datetime) -> datetime:
    """Return an instant near one of ``around``: keys of one case differ in it."""
    return random.choice(around) + timedelta(seconds=random.randrange(60))


def a_row(random: Random, case: dict[str, Any], mark: str, number: int) -> ConsentRow:
    """Return a row of a case, with columns of its own."""
    brand = case["brand"]
    recipient = f"+905{mark}{number:03d}"
    row = ConsentRow(
        key=f"{brand.brand_code}/MESAJ/{case['recipient_type']}/{recipient}",
        customer_id=brand.customer_id,
        brand_code=brand.brand_code,
        channel="MESAJ",
        recipient_type=case["recipient_type"],
        recipient=recipient,
        desired_status=case["desired"],
        registrable=case["registrable"],
        attested=case["attested"],
        registered=case["registered"],
        state=case["obligation"][0],
        action=case["obligation"][1],
        reason=case["obligation"][2],
        code=case["code"],
        attempts=random.randrange(3),
        onay_open=case["obligation"][0] == "awaiting_result",
        updated_at=BEFORE,
    )
    if case["desired"] is not None:
        at = instant(random, case["desired_near"])
        row = row.replace(
            desired_at=at,
            desired_rank=case["rank"],
            desired_event_id=f"before-{number}",
            desired_origin="crm",
            desired_origin_ref=random.choice([None, f"row-{number}"]),
            desired_source="HS_WEB",
            desired_consent_date=at,
            received_at=at,
            due_at=at,
            **{"latest_onay_at" if case["desired"] == "ONAY" else "latest_ret_at": at},
        )
    if case["registered"] in {"ONAY", "RET"}:
        at = instant(random, case["registered_near"])
        row = row.replace(
            registered_at=at,
            registered_consent_date=at - timedelta(seconds=random.randrange(5)),
            registered_source=case["source"],
            registered_transaction_id=case["transaction"] and f"{number:064x}",
            verified_at=at if case["verified"] else None,
            verified_by=case["verified_by"],
        )
    row = row.replace(**case["unusual"])
    permitted = permitted_row(None, row, BEFORE) if case["permitted"] else None
    return row if permitted is None else permitted


def cases(random: Random) -> Iterator[dict[str, Any]]:
    """Yield what the rows of each case share."""
    for number in range(CASES):
        yield {
            "brand": BRANDS[number % 7 == 0],
            "recipient_type": random.choice(["BIREYSEL", "BIREYSEL", "TACIR"]),
            "desired": random.choice(["ONAY", "ONAY", "RET", None]),
            "desired_near": random.choice([BEFORE, BEFORE, AFTER]),
            "rank": random.choice([0, 0, 0, 1, 2]),
            "registrable": random.random() < 0.9,
            "attested": random.random() < 0.5,
            "obligation": random.choice(OBLIGATIONS),
            "code": random.choice([None, None, "H174"]),
            "registered": random.choice(["ONAY", "ONAY", "RET", "UNKNOWN", "NONE", "NOT_ONAY"]),
            "registered_near": random.choice([BEFORE - timedelta(days=1), BEFORE, AFTER]),
            "source": random.choice(["HS_WEB", "IYS_WEB"]),
            "transaction": random.random() < 0.8,
            "verified": random.random() < 0.8,
            "verified_by": random.choice(["batch", "pull", BOOTSTRAP]),
            "unusual": random.choice(UNUSUAL) if random.random() < 0.1 else {},
            "permitted": random.random() < 0.9,
            "event_status": random.choice(["ONAY", "RET"]),
            "event_source": random.choice(["HS_WEB", "HS_WEB", "HS_FIZIKSEL_ORTAM"]),
            "event_near": random.choice([NOON, NOON, BEFORE, BEFORE - timedelta(days=30)]),
            "seen": random.choice(["ONAY", "RET"]),
            "seen_source": random.choice(["HS_WEB", "IYS_WEB"]),
            "seen_near": random.choice([NOON, NOON, BEFORE, BEFORE - timedelta(days=3)]),
            "seen_dated": random.random() < 0.9,
        }


def situations(mark: str) -> list[tuple[dict[str, Any], ConsentRow, Random]]:
    """Return the rows of all cases, mixed, each with its case."""
    random = Random(20)
    found = [
        (case, a_row(random, case, mark, place * ALIKE + number), random)
        for place, case in enumerate(cases(random))
        for number in range(ALIKE)
    ]
    random.shuffle(found)
    return found


def an_event_on(case: dict[str, Any], row: ConsentRow, random: Random) -> ConsentEvent:
    """Return the event of a case on a row."""
    at = instant(random, case["event_near"])
    return an_event(
        event_id=f"event-{row.recipient[-3:]}",
        recipient=row.recipient,
        recipient_type=row.recipient_type,
        brand_code=row.brand_code,
        customer_id=row.customer_id,
        status=case["event_status"],
        source=case["event_source"],
        consent_date=at,
        received_at=at + timedelta(seconds=random.randrange(3)),
        notice_version="2026-1",
        origin_ref=random.choice([None, row.recipient]),
    )


def a_movement_on(case: dict[str, Any], row: ConsentRow, random: Random) -> ObservedMovement:
    """Return what İYS shows of a row."""
    created = instant(random, case["seen_near"])
    seen = Observation(
        value=Registered(case["seen"]),
        creation_date=created,
        consent_date=created - timedelta(seconds=2) if case["seen_dated"] else None,
        source=case["seen_source"],
        transaction_id=f"{random.randrange(10**9):064x}",
        verified_at=NOW,
        verified_by="pull",
    )
    entry = HistoryEntry(
        kind="observation",
        customer_id=row.customer_id,
        key=row.key,
        event_id="seen",
        status=case["seen"],
        source=f"pull/{row.key}",
        occurred_at=created,
        data={},
    )
    key = ConsentKey(
        brand_code=row.brand_code,
        channel=Channel(row.channel),
        recipient_type=RecipientType(row.recipient_type),
        recipient=row.recipient,
    )
    return ObservedMovement(key, seen, entry, is_ours=False)


async def insert(connection: Connection, rows: Sequence[ConsentRow]) -> None:
    """Add ``rows`` to the ledger as they are."""
    await connection.execute(statements("consents")["insert"], {"rows": to_json(rows)})


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have rows of two keys made in bulk, and written in slices of a hundred."""
    monkeypatch.setattr(saving, "FEW", 2)
    monkeypatch.setattr(saving, "_SLICE", 100)


@pytest.fixture(scope="module")
def urls(postgres: str) -> Iterator[tuple[str, str]]:
    """Give the ledgers of all tests here."""
    with two_ledgers(postgres) as found:
        yield found


async def ingested(url: str, rows: Sequence[ConsentRow], mark: str, values: Sequence[bytes]) -> Any:  # noqa: ANN401  # rows
    """Ingest decisions on ``rows`` in one batch; return how many were applied one by one, and all
    that was written.
    """
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        async with ledger.transaction() as connection:
            await insert(connection, rows)
        its_ingester = ingester(ledger)
        known = await offsets.positions(ledger, TOPIC, [0], cluster_id="c", topic_id="t")
        reads = list(map(its_ingester.decisions.read, values))
        moves = {0: (known[0], known[0] + len(reads))}
        batch = Batch(topic=TOPIC, topic_id="t", decisions=reads, moves=moves, quarantined=())
        stored = await its_ingester._storage.store(batch, its_ingester.clock())
        (found,) = await ledger.fetch(WRITTEN, {"mark": f"%/+905{mark}%"})
        return len(stored.others), found


async def observed(url: str, mark: str) -> Any:  # noqa: ANN401  # rows
    """Observe movements of all cases, brand by brand; return all that was written."""
    found = situations(mark)
    rows, entries = [row for _, row, _ in found], [a_movement_on(*one) for one in found]
    return await observed_of(url, rows, mark, entries)


async def observed_of(
    url: str, rows: Sequence[ConsentRow], mark: str, entries: Sequence[ObservedMovement]
) -> Any:  # noqa: ANN401  # rows
    """Observe ``entries`` of ``rows``, brand by brand; return all that was written."""
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        async with ledger.transaction() as connection:
            await insert(connection, rows)
            for brand in BRANDS:
                messages = TopicMessages(CODEC, Topics())
                changes = UnitOfWork(connection, messages, TURKEY_CALENDAR, NOW)
                its = [one for one in entries if one.key.brand_code == brand.brand_code]
                await observe(changes, brand, its)
                await changes.write()
        (found,) = await ledger.fetch(WRITTEN, {"mark": f"%/+905{mark}%"})
        return found


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Fail unless two ledgers have the same rows, history and messages."""
    for table in ("consents", "history", "outbox"):
        for one, other in zip(found[table], expected[table], strict=True):
            assert one == other, table


def test_newer_decisions_change_rows_alike(
    urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any state of a row, and any record of İYS; most are made by templates."""
    mark = "770001"
    found = situations(mark)
    values = decisions_on([an_event_on(*one) for one in found], mark)
    rows = [row for _, row, _ in found]
    assert len(values) == len(rows) == CASES * ALIKE
    applied, in_bulk = asyncio.run(ingested(urls[0], rows, mark, values))
    monkeypatch.setattr(saving, "FEW", len(rows))
    all_of_them, one_by_one = asyncio.run(ingested(urls[1], rows, mark, values))
    assert_same(in_bulk, one_by_one)
    assert all_of_them == len(rows)
    assert applied < len(rows) * 2 // 3


def test_observations_change_rows_alike(
    urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any state of a row, and any movement at İYS; most are made by templates."""
    made: list[bool] = []
    alike = saving.alike

    def counting(*given: Any) -> Any:  # noqa: ANN401  # as it has
        found = alike(*given)
        made.append(found is not None)
        return found

    monkeypatch.setattr(saving, "alike", counting)
    in_bulk = asyncio.run(observed(urls[0], "770002"))
    monkeypatch.setattr(saving, "FEW", CASES * ALIKE)
    assert_same(in_bulk, asyncio.run(observed(urls[1], "770002")))
    assert sum(made) > CASES // 3


def test_template_that_errs_is_not_used(
    urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each must publish its own example as the general path does."""
    expected = asyncio.run(observed(urls[1], "770004"))
    for template in (PermissionTemplate, OutcomeTemplate):
        monkeypatch.setattr(template, "of", lambda *_: b"!")
    assert_same(asyncio.run(observed(urls[0], "770004")), expected)


async def test_key_inserted_meanwhile_is_read_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """The batch is stored again, with its row: neither is lost."""
    await prepared(database_url)
    mark, random = "770003", Random(20)
    case = next(iter(cases(random))) | {
        "brand": ACTIVE,
        "desired_near": BEFORE,
        "event_near": NOON,
        "event_status": "RET",
        "unusual": {},
    }
    row = a_row(random, case, mark, 0)
    values = decisions_on([an_event_on(case, row, random)], mark)
    locks = iter([True])
    lock_rows = unit_of_work_module.lock

    async with Ledger(LedgerSettings(database_url=SecretStr(database_url)), owner=1) as ledger:

        async def inserted_behind(connection: Connection, keys: Sequence[str]) -> Any:  # noqa: ANN401  # as it has
            found = await lock_rows(connection, keys)
            if next(locks, False):
                async with ledger.session() as other, other.transaction():
                    await insert(other, [row])
            return found

        monkeypatch.setattr(unit_of_work_module, "lock", inserted_behind)
        its_ingester = ingester(ledger)
        await offsets.positions(ledger, TOPIC, [0], cluster_id="c", topic_id="t")
        reads = list(map(its_ingester.decisions.read, values))
        with structlog.testing.capture_logs() as logs:
            await its_ingester.store(TOPIC, "t", reads, {0: (0, 1)})
        (found,) = await ledger.fetch("SELECT desired_status, desired_origin FROM consents")
    assert [one["event"] for one in logs] == ["batch stored again"]
    assert found["desired_status"] == "RET"


async def test_observe_takes_pages_as_they_come(database_url: str):
    """A key that comes twice changes in the order of the page, a new one gets a row, what shows
    nothing is only recorded, and an entry of ours brings no erased key back.
    """
    await prepared(database_url)
    random = Random(20)
    case = next(iter(cases(random))) | {"brand": ACTIVE, "seen_near": NOON}
    rows = [a_row(random, case, "770005", number) for number in range(4)]
    first, twice, silent, erased = (a_movement_on(case, row, random) for row in rows)
    seen = twice.observation
    assert seen is not None
    at = seen.creation_date + timedelta(seconds=90)
    later = replace(seen, value=Registered.RET, creation_date=at)
    page = [first, twice, twice._replace(observation=later), silent._replace(observation=None)]
    page.append(erased._replace(is_ours=True))
    found = await observed_of(database_url, [], "770005", page)
    assert {row["key"]: row["registered"] for row in found["consents"]} == {
        rows[0].key: case["seen"],
        rows[1].key: "RET",
    }
    recorded = [row["key"] for row in found["history"]]
    assert recorded == [rows[0].key, rows[1].key, rows[1].key, rows[2].key]
