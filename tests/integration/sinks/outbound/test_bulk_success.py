"""Successes settled in bulk leave what settling them one by one would leave."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from izin.consent import TURKEY_CALENDAR, IllegalTransitionError, decide
from izin.iys.errors import Verdict
from izin.iys.wire_format import Receipt
from izin.ledger import claims
from izin.ledger.bulk import saving
from izin.ledger.db import Ledger
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
from izin.runtime.settings import LedgerSettings
from izin.schemas.topics import Topics
from izin.sinks.outbound.save_results import save_results
from tests.integration.sinks.ingest.test_bulk_rows import CODEC, WRITTEN, two_ledgers
from tests.integration.sinks.sink_harness import ACTIVE, OTHER
from tests.support.builders import NOON, a_decision_record, an_admitted_event

if TYPE_CHECKING:
    from izin.sinks.outbound.context import OutboundContext

pytestmark = pytest.mark.database

NOW = NOON + timedelta(minutes=10)
TABLES = ("consents", "history", "outbox", "items")
_NUMBERS = count(1)
OWNER = LeaseOwner(owner=OTHER, lease=timedelta(hours=1), call_within=timedelta(seconds=5))


@pytest.fixture(scope="module")
def urls(postgres: str) -> Iterator[tuple[str, str]]:
    """Give the ledgers of all tests here."""
    with two_ledgers(postgres) as found:
        yield found


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
    creation_date=st.sampled_from([NOW, NOW - timedelta(seconds=1)]),
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
_RECEIPT = Receipt(transaction_id="1" * 64, creation_date=NOW)
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
    row = apply.decided(None, a_decision_record(decide(None, claim)), NOW)
    entry = ruling.rule_row(row, ACTIVE, NOW, calendar=TURKEY_CALENDAR).row
    in_flight = {"state": "awaiting_result", "action": "nothing", "attempts": 1, "onay_open": True}
    return entry.replace(**in_flight | columns)


async def submitted(ledger: Ledger, entries: Sequence[ConsentRow], number: int) -> Submission:
    """Write ``entries``, and the batch (of this number) by which they were submitted before."""
    async with unit_of_work(ledger, TopicMessages(CODEC, Topics()), NOW) as changes:
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
        return await claims.intend(
            changes, ACTIVE, items, bodies, kind=BATCH, lease_owner=OWNER, refusals=0
        )


def a_context(ledger: Ledger) -> "OutboundContext":
    """Return what settling needs."""
    messages = TopicMessages(CODEC, Topics())
    fields = {
        "ledger": ledger,
        "topic_messages": messages,
        "changes": lambda: unit_of_work(ledger, messages, NOW),
        "clock": lambda: NOW,
        "lease_owner": OWNER,
        "result_delay": timedelta(minutes=5),
    }
    return cast("OutboundContext", SimpleNamespace(**fields))


async def written(
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
    urls: tuple[str, str],
    examples: list[tuple[dict[str, Any], dict[str, Any], ItemResult | None]],
) -> None:
    """Rows, history and messages are equal whatever the rows are and whatever İYS answers."""
    number = next(_NUMBERS)
    mark = f"{number:05d}"
    entries = [
        in_flight_row(n, mark, fields, columns) for n, (fields, columns, _) in enumerate(examples)
    ]
    answers = {n: answer for n, (_, _, answer) in enumerate(examples) if answer is not None}
    one, other = urls
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "FEW", 2)
        found = asyncio.run(written(one, entries, answers, mark, number))
        patch.setattr(saving, "FEW", 10**6)
        expected = asyncio.run(written(other, entries, answers, mark, number))
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
    mark = f"{number:05d}"
    entries = [in_flight_row(n, mark, {}, one) for n, one in enumerate(columns)]
    async with Ledger(LedgerSettings(database_url=SecretStr(url)), owner=1) as ledger:
        submission = await submitted(ledger, entries, number)
        answers = dict.fromkeys(range(len(columns)), SAVED)
        await save_results(a_context(ledger), submission, answers)
    return counts


async def test_first_submissions_settle_in_bulk(
    urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alone is settled by itself, because there is nothing to share."""
    assert await settled_in_bulk(urls[0], [{}, {}, {}], monkeypatch) == [3]
    assert await settled_in_bulk(urls[0], [{}], monkeypatch) == []


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
    urls: tuple[str, str], columns: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of another shape, or desires another event."""
    assert await settled_in_bulk(urls[0], [{}, columns, {}], monkeypatch) == [2]
