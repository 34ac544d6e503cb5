"""What is written from a decision's bytes equals what is written from its values.

Rows of new keys are written in bulk from templates; known keys take the fast path.
Successes settled in bulk leave what settling them one by one would leave.
"""

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import SecretStr

from izin.consent import (
    TURKEY_CALENDAR,
    Consent,
    ConsentEvent,
    DecisionKind,
    IllegalTransitionError,
    RefusedEvent,
    admit,
    decide,
)
from izin.iys.errors import Verdict
from izin.iys.wire_format import Receipt
from izin.ledger import offsets, submissions
from izin.ledger.bulk import saving
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import (
    BATCH,
    ConsentRow,
    IllegalChangeError,
    Item,
    ItemResult,
    LeaseOwner,
    Submission,
    TopicMessages,
    apply,
    item_of,
    ruling,
)
from izin.ledger.unit_of_work import unit_of_work
from izin.local import create_database
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.ingest.decision_reader import DecisionReader, IncomingDecision
from izin.sinks.ingest.ingester import Ingester
from izin.sinks.outbound.save_results import save_results
from tests.integration.sinks.sink_harness import ACTIVE, OTHER
from tests.support.builders import (
    NOON,
    a_decision_record,
    an_admitted_event,
    an_event,
    an_iys_origin,
)
from tests.support.registration import register_brand
from tests.support.servers.distribution import drop_database

pytestmark = pytest.mark.database
_MARKS = count(1)
"""Each example has keys of its own in the ledgers that all share."""
CODEC = Codec()
NOW = NOON + timedelta(minutes=5)
LOADING = replace(
    ACTIVE,
    brand_code=100_002,
    customer_id='a"b\\',
    activated_at=None,
    loading_deadline=NOW,
)
BRANDS = (ACTIVE, LOADING)
TOPIC = "consent-decisions"


@contextmanager
def two_ledgers(postgres: str) -> Iterator[tuple[str, str]]:
    """Give two ledgers, one for each path."""
    names = [f"way_{secrets.token_hex(6)}" for _ in range(2)]
    one, other = (create_database(postgres, name) for name in names)
    asyncio.run(prepared(one))
    asyncio.run(prepared(other))
    yield one, other
    for name in names:
        drop_database(postgres, name)


@pytest.fixture(scope="module")
def urls(postgres: str) -> Iterator[tuple[str, str]]:
    """Give the ledgers in which the tests ingest."""
    with two_ledgers(postgres) as found:
        yield found


@pytest.fixture(scope="module")
def settling(postgres: str) -> Iterator[tuple[str, str]]:
    """Give the ledgers in which they settle, later: what is recorded then is of a later instant."""
    with two_ledgers(postgres) as found:
        yield found


async def prepared(url: str) -> None:
    """Make an empty ledger with two brands at ``url``."""
    await migrate(url)
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        for brand in BRANDS:
            await register_brand(ledger, TopicMessages(CODEC, Topics()), brand, now=NOW)


def ingester(ledger: Ledger) -> Ingester:
    """Return an ingester whose clock does not move."""
    return Ingester(
        ledger=ledger,
        topic_messages=TopicMessages(CODEC, Topics()),
        codec=CODEC,
        settings=KafkaSettings(),
        clock=lambda: NOW,
        wait=timedelta(0),
    )


_DATES = st.sampled_from(
    [
        NOON,
        NOON - timedelta(seconds=1),
        NOON + timedelta(milliseconds=250),
        NOON - timedelta(days=10),
        NOON - timedelta(days=400),
        NOW + timedelta(minutes=2),
    ]
)
"""The last is ahead of the ledger's clock, as the correct clock of another may be."""
_RECIPIENTS = st.integers(0, 40).map(lambda n: f"+905550000{n:03d}")
_ALIKE = st.builds(
    an_event,
    event_id=st.integers(0, 10**9).map(str),
    recipient=_RECIPIENTS,
    consent_date=_DATES,
    received_at=st.sampled_from([NOON, NOON + timedelta(minutes=20)]),
    notice_version=st.just("2026-1"),
    origin_ref=st.sampled_from([None, "", "row-1", 'a "b"\\c\t']),
)
"""Events of which many share a template, as most do."""
_VARIED = st.builds(
    an_event,
    event_id=st.sampled_from(["1", "2", "3", "0b5ba28e-1c9f-4dd8-9d6c-0d6f8d1b7e11", "9" * 70]),
    status=st.sampled_from(["ONAY", "ONAY", "RET"]),
    source=st.sampled_from(["HS_WEB", "HS_WEB", "HS_KARAR", "HS_FIZIKSEL_ORTAM", None]),
    recipient=_RECIPIENTS,
    recipient_type=st.sampled_from(["BIREYSEL", "BIREYSEL", "TACIR"]),
    brand_code=st.sampled_from([100_001, 100_001, 100_002, 999_999]),
    consent_date=_DATES | st.none(),
    received_at=st.sampled_from([NOON, NOON + timedelta(seconds=2), NOON + timedelta(minutes=20)]),
    origin=st.sampled_from(["crm", "web"]),
    origin_ref=st.sampled_from([None, "row-1", "r" * 80]),
    notice_version=st.sampled_from([None, "2026-1"]),
    import_id=st.sampled_from([None, None, "f00"]),
    retailer_code=st.sampled_from([None, None, None, 11111111]),
    iys=st.sampled_from([None, None, None, an_iys_origin()]),
    customer_id=st.sampled_from(["acme", "acme", 'a"b\\']),
)


def decisions_on(events: Sequence[ConsentEvent], mark: str) -> list[bytes]:
    """Return the decisions on ``events``, which concern keys of ``mark`` alone."""
    states: dict[str, Consent] = {}
    values = []
    for offset, event in enumerate(events):
        own = replace(event, recipient=event.recipient[:4] + mark + event.recipient[-3:])
        admitted = admit(own, appended_at=NOON + timedelta(hours=1))
        if isinstance(admitted, RefusedEvent):
            continue
        decision = decide(states.get(str(admitted.key)), admitted)
        states[str(admitted.key)] = decision.consent
        if decision.kind is not DecisionKind.DUPLICATE:
            record = a_decision_record(decision, topic=mark, offset=offset)
            values.append(CODEC.encode("Decision", record))
    return values


WRITTEN = """SELECT (SELECT json_agg(to_jsonb(c) ORDER BY c.key) FROM consents AS c
        WHERE c.key LIKE %(mark)s) AS consents,
    (SELECT json_agg(to_jsonb(m) - '{shard,place,link,salt}'::text[]
        ORDER BY m.key, m.kind, m.occurred_at, m.decision, m.source)
        FROM history AS m WHERE m.key LIKE %(mark)s) AS history,
    (SELECT json_agg(to_jsonb(o) - 'id' ORDER BY o.key, o.id) FROM outbox AS o
        WHERE o.key LIKE %(mark)s) AS outbox"""
REGISTERED = """UPDATE consents AS c SET action = 'nothing', attempts = 1, lease_owner = NULL,
    state = (ARRAY['accepted', 'not_needed', 'awaiting_result', 'parked', 'retryable'])[given.n],
    registered = (ARRAY['ONAY', 'RET', 'UNKNOWN', 'NOT_ONAY', 'ONAY'])[given.n],
    registered_source = (ARRAY['HS_WEB', 'IYS_WEB', NULL, NULL, 'HS_WEB'])[given.n],
    registered_at = %(at)s, registered_consent_date = %(at)s, onay_open = given.n = 3,
    verified_by = 'batch', verified_at = %(at)s
FROM (SELECT key, 1 + abs(hashtext(right(key, 3))) %% 5 AS n
    FROM consents WHERE key LIKE %(mark)s) AS given
WHERE c.key = given.key"""
"""What İYS may have registered of each key, by the last digits of its recipient."""


async def register(ledger: Ledger, mark: str) -> None:
    """Register every key of ``mark``, in one state or another."""
    async with ledger.transaction() as connection:
        # The transitions to these states are tested elsewhere.
        await connection.execute("SET LOCAL session_replication_role = replica")
        values = {"mark": f"%/+905{mark}%", "at": NOON - timedelta(seconds=1)}
        await connection.execute(REGISTERED, values)


async def written(
    url: str, values: Sequence[bytes], sizes: Sequence[int], mark: str, *, fast: bool
) -> Any:  # noqa: ANN401  # rows
    """Ingest ``values`` in batches of ``sizes``; return all that was written of them."""
    async with AsyncExitStack() as stack:
        settings_ = LedgerSettings(database_url=SecretStr(url))
        ledger = await stack.enter_async_context(Ledger(settings_, owner=1))
        its_ingester = ingester(ledger)
        known = await offsets.positions(ledger, TOPIC, [0], cluster_id="c", topic_id="t")
        reads = list(map(its_ingester.decisions.read, values))
        if not fast:
            reads = [read._replace(fields=None) for read in reads]
        place, offset = 0, known[0]
        half = len(reads) // 2
        while place < len(reads):
            size = sizes[place % len(sizes)]
            if place < half <= place + size:
                await register(ledger, mark)
            batch = reads[place : place + size]
            await its_ingester.store(TOPIC, "t", batch, {0: (offset, offset + len(batch))})
            place, offset = place + len(batch), offset + len(batch)
        (row,) = await ledger.fetch(WRITTEN, {"mark": f"%/+905{mark}%"})
        return row


@settings(max_examples=25)
@given(
    st.lists(_ALIKE | _ALIKE | _VARIED, min_size=1, max_size=60),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_fast_path_writes_the_same_as_general_path(
    urls: tuple[str, str], events: list[ConsentEvent], sizes: list[int]
) -> None:
    """Rows, history and messages are equal for any events and batch sizes, and for keys that are
    new, due or registered.
    """
    mark = f"{next(_MARKS):06d}"
    values = decisions_on(events, mark)
    one, other = urls
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "FEW", 2)
        found = asyncio.run(written(one, values, sizes, mark, fast=True))
    expected = asyncio.run(written(other, values, sizes, mark, fast=False))
    for table in ("consents", "history", "outbox"):
        assert found[table] == expected[table], table


def a_read(**fields: object) -> IncomingDecision:
    """Return the decision on the first event of a key, as the topic has it."""
    (value,) = decisions_on([an_event(**fields)], "000000")
    return DecisionReader(CODEC).read(value)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"status": "RET"},
        {"recipient_type": "TACIR"},
        {"notice_version": "2026-1", "origin_ref": "row-1", "evidence": {"a": "b"}},
    ],
)
def test_usual_decision_takes_fast_path(fields: dict[str, object]) -> None:
    """Events of our publishers are usually simple."""
    assert a_read(**fields).fields is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"iys": an_iys_origin(), "origin": "iys", "source": "IYS_WEB", "status": "RET"},
        {"retailer_code": 11111111},
        {"event_id": "9" * 70},
        {"origin_ref": "r" * 80},
        {"source": None, "status": "RET"},
    ],
)
def test_unusual_decision_takes_general_path(fields: dict[str, object]) -> None:
    """Each condition of the fast path can fail."""
    assert a_read(**fields).fields is None


SETTLED_AT = NOON + timedelta(minutes=10)
TABLES = ("consents", "history", "outbox", "items")
_NUMBERS = count(1)
OWNER = LeaseOwner(owner=OTHER, lease=timedelta(hours=1), call_within=timedelta(seconds=5))


_USUAL = st.fixed_dictionaries(
    {
        "recipient_type": st.sampled_from(["BIREYSEL", "BIREYSEL", "TACIR"]),
        "consent_date": st.sampled_from([NOON, NOON - timedelta(seconds=5)]),
        "origin_ref": st.sampled_from([None, "row-1", 'a "b"\\c']),
    }
)
_UNUSUAL: dict[str, st.SearchStrategy[Any]] = {
    "registered": st.sampled_from(["NONE", "NOT_ONAY", "RET", "ONAY"]),
    "registered_at": st.just(NOON - timedelta(days=1)),
    "latest_ret_at": st.sampled_from([NOON - timedelta(days=9), NOON + timedelta(days=1)]),
    "retailer_code": st.just(11111111),
    "due_at": st.none() | st.just(NOON),
    "expires_at": st.none(),
    "desired_event_id": st.just("another"),
    "desired_at": st.just(NOON + timedelta(minutes=1)),
    "desired_rank": st.just(1),
    "state": st.sampled_from(["unknown", "awaiting_result", "retryable", "accepted"]),
    "ret_open": st.just(True),
    "attempts": st.integers(1, 3),
}
_COLUMNS = st.just({}) | st.just({}) | st.fixed_dictionaries({}, optional=_UNUSUAL)
_RECEIPTS = st.builds(
    Receipt,
    transaction_id=st.sampled_from(["0" * 64, "1" * 64]),
    creation_date=st.sampled_from([SETTLED_AT, SETTLED_AT - timedelta(seconds=1)]),
)
_SAVED = _RECEIPTS.map(lambda receipt: ItemResult(Verdict.SUCCESS, receipt=receipt, how="batch"))
_OTHERWISE = st.sampled_from(
    [
        None,
        ItemResult(Verdict.DATA, "H155", how="batch"),
        ItemResult(Verdict.ALREADY, "H174", how="batch"),
        ItemResult(Verdict.EXPIRED, "H467", how="batch"),
        ItemResult(
            Verdict.SUCCESS,
            receipt=Receipt(transaction_id="2" * 64, creation_date=NOON),
            is_original=True,
            how="batch",
        ),
        ItemResult(Verdict.SUCCESS, how="batch"),
    ]
)
_EXAMPLES = st.lists(
    st.tuples(_USUAL, _COLUMNS, _SAVED | _SAVED | _SAVED | _OTHERWISE), min_size=1, max_size=30
)
_RECEIPT = Receipt(transaction_id="1" * 64, creation_date=SETTLED_AT)
SAVED = ItemResult(Verdict.SUCCESS, receipt=_RECEIPT, how="batch")
_RETRIED = [
    ({}, {"latest_ret_at": NOON + timedelta(days=1), "attempts": attempts}, SAVED)
    for attempts in (1, 2, 3)
]
"""İYS accepts opt-ins and still shows another status: each is due after its own backoff."""


def in_flight_row(
    number: int, mark: str, fields: dict[str, Any], columns: dict[str, Any]
) -> ConsentRow:
    """Return a row that a batch submitted, with these columns since."""
    claim = an_admitted_event(
        event_id=f"e-{number}", recipient=f"+90555{mark}{number:02d}", **fields
    )
    row = apply.decided(None, a_decision_record(decide(None, claim)), SETTLED_AT)
    entry = ruling.rule_row(row, ACTIVE, SETTLED_AT, calendar=TURKEY_CALENDAR).row
    in_flight = {"state": "awaiting_result", "action": "nothing", "attempts": 1, "onay_open": True}
    return entry.replace(**in_flight | columns)


async def submitted(ledger: Ledger, entries: Sequence[ConsentRow], number: int) -> Submission:
    """Write ``entries``, and the batch (of this number) by which they were submitted before."""
    async with unit_of_work(ledger, TopicMessages(CODEC, Topics()), SETTLED_AT) as changes:
        await changes.connection.execute(
            "SELECT setval(pg_get_serial_sequence('submissions', 'id'), %(number)s, false)",
            {"number": number},
        )
        for entry in entries:
            changes.put(None, entry)
        bodies = [item_of(entry) for entry in entries]
        items = [
            Item(
                number,
                entry.customer_id,
                entry.key,
                f"e-{number}",
                "ONAY",
                item.consent_date,
                entry.desired_source,
                1,
                "web",
                entry.desired_origin_ref,
            )
            for number, (entry, item) in enumerate(zip(entries, bodies, strict=True))
        ]
        return await submissions.intend(
            changes, ACTIVE, items, bodies, kind=BATCH, lease_owner=OWNER, refusals=0
        )


def a_context(ledger: Ledger) -> Any:  # noqa: ANN401  # as much of a context
    """Return what settling needs."""
    messages = TopicMessages(CODEC, Topics())
    fields = {
        "ledger": ledger,
        "topic_messages": messages,
        "changes": lambda: unit_of_work(ledger, messages, SETTLED_AT),
        "clock": lambda: SETTLED_AT,
        "lease_owner": OWNER,
        "result_delay": timedelta(minutes=5),
    }
    return SimpleNamespace(**fields)


async def settled(
    url: str, entries: Sequence[ConsentRow], answers: dict[int, ItemResult], mark: str, number: int
) -> Any:  # noqa: ANN401  # rows
    """Settle a batch by ``answers``, twice; return all that was written of it."""
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        submission = await submitted(ledger, entries, number)
        context = a_context(ledger)
        try:
            for _ in range(2):
                await save_results(context, submission, answers, request_id="r-1")
        except (IllegalChangeError, IllegalTransitionError) as error:
            # The database refuses some of the generated rows.
            return dict.fromkeys(TABLES, str(error))
        (row,) = await ledger.fetch(WRITTEN, {"mark": f"%/+90555{mark}%"})
        items = await ledger.fetch(
            "SELECT index, state, code FROM submission_items WHERE submission_id = %(id)s"
            " ORDER BY index",
            {"id": submission.id},
        )
        return {**row, "items": items, "body": submission.body}


@settings(max_examples=40)
@example(_RETRIED)
@given(_EXAMPLES)
def test_bulk_settling_writes_the_same_as_one_by_one(
    settling: tuple[str, str],
    examples: list[tuple[dict[str, Any], dict[str, Any], ItemResult | None]],
) -> None:
    """Rows, history and messages are equal whatever the rows are and whatever İYS answers."""
    number = next(_NUMBERS)
    mark = f"{number:05d}"
    entries = [
        in_flight_row(n, mark, fields, columns) for n, (fields, columns, _) in enumerate(examples)
    ]
    answers = {n: answer for n, (_, _, answer) in enumerate(examples) if answer is not None}
    one, other = settling
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "FEW", 2)
        found = asyncio.run(settled(one, entries, answers, mark, number))
        patch.setattr(saving, "FEW", 10**6)
        expected = asyncio.run(settled(other, entries, answers, mark, number))
    for table in TABLES:
        assert found[table] == expected[table], table


async def settled_in_bulk(
    url: str, columns: Sequence[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Settle rows with these columns, all saved; return how many were settled in bulk at once."""
    counts: list[int] = []
    written_rows = saving.BulkChanges._write

    async def counting(*given: Any) -> None:  # noqa: ANN401  # as it has
        counts.append(len(given[2]))
        await written_rows(*given)

    monkeypatch.setattr(saving.BulkChanges, "_write", counting)
    monkeypatch.setattr(saving, "FEW", 2)
    number = next(_NUMBERS)
    entries = [in_flight_row(n, f"{number:05d}", {}, one) for n, one in enumerate(columns)]
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        submission = await submitted(ledger, entries, number)
        answers = dict.fromkeys(range(len(columns)), SAVED)
        await save_results(a_context(ledger), submission, answers)
    return counts


async def test_first_submissions_settle_in_bulk(
    settling: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alone is settled by itself, because there is nothing to share."""
    assert await settled_in_bulk(settling[0], [{}, {}, {}], monkeypatch) == [3]
    assert await settled_in_bulk(settling[0], [{}], monkeypatch) == []


@pytest.mark.parametrize(
    "columns",
    [
        {"registered": "NOT_ONAY", "registered_at": NOON},
        {"latest_ret_at": datetime.fromisoformat("2026-01-01T00:00:00Z")},
        {"retailer_code": 11111111},
        {"desired_event_id": "another"},
        {"desired_rank": 1},
        {"state": "retryable"},
        {"ret_open": True},
    ],
)
async def test_unusual_row_settles_apart(
    settling: tuple[str, str], columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of another shape, or desires another event."""
    assert await settled_in_bulk(settling[0], [{}, columns, {}], monkeypatch) == [2]
