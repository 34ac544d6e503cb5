"""A failure of one record, account or worker affects no other."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from izin.consent.next_action import Action
from izin.iys.wire_format.consents import RegisterRecord
from izin.iys.wire_format.json_reader import JsonReader
from izin.runtime.settings import SinkSettings
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record.state_change import first_row
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    InMemoryTopic,
    SinkHarness,
    a_phone,
    given_at,
    minutes_ago,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, PHONE, a_key

pytestmark = pytest.mark.database


async def test_brand_of_another_address_of_the_account_is_pulled(harness: SinkHarness):
    """A worker does not wait for the lock of another address of the same account."""
    await harness.brand(replace(ACTIVE, egress_address="two"))
    harness.become("ada", "two")
    puller = harness.puller(InMemoryTopic(), interval=A_SECOND)
    other = replace(harness.context.lease_owner, address="one")
    async with sole(harness.ledger, other.sole("pull")):
        task = asyncio.create_task(puller.run(SinkSettings().poll_interval))
        await until(lambda: harness.iys.calls("changes") > 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_refused_account_suspends_only_its_own_brands(harness: SinkHarness):
    """The brands of another account go on."""
    await harness.brand(replace(ACTIVE, account="ada"))
    await harness.brand(replace(ACTIVE, brand_code=BRAND + 1, iys_code=200002, account="bob"))
    await harness.ingest(onay())
    harness.become("ada", harness.context.lease_owner.address)
    harness.iys.inject_fault("batchV2", status=401, code="H251")
    assert await harness.bulk()
    found = await harness.suspensions()
    assert [(one.brand_code, one.scope) for one in found] == [(BRAND, "account")]


async def test_item_refusal_of_a_retried_record_ends_the_suspension(harness: SinkHarness):
    """The subscription is open again, and the one record that is tried is refused for itself
    (H178): opt-outs wait no longer.
    """
    await harness.register_onay()
    await harness.suspend("H521", scope="provider")
    people = [a_phone(number) for number in range(2, 8)]
    await harness.ingest(ret(), *(onay(person) for person in people))
    for person in people:
        harness.iys.citizen("ONAY", person, source="IYS_WEB_YENI")  # newer than ours: H178
    harness.advance(timedelta(minutes=2))
    minutes = 0
    while harness.iys.register()[PHONE] == "ONAY" and minutes < 10:
        await harness.bulk()
        await harness.opt_out()
        harness.advance(timedelta(minutes=1))
        minutes += 1
    assert minutes <= 1


async def test_pending_status_at_iys_stops_no_worker(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """BEKLIYOR is in İYS's own texts."""
    harness.iys.citizen("ONAY", source="IYS_WEB_YENI")
    harness.advance(timedelta(minutes=1))
    await harness.ingest(given_at(harness.clock() - A_SECOND * 120))
    assert await harness.bulk()
    assert await harness.settle()
    assert (await harness.row()).action is Action.QUERY
    whole = RegisterRecord.read

    def pending(reader: JsonReader) -> RegisterRecord:
        return replace(whole(reader), status="BEKLIYOR")

    monkeypatch.setattr(RegisterRecord, "read", pending)
    await harness.query()


async def test_row_inserted_concurrently_is_read_by_the_ingester(harness: SinkHarness):
    """It stores its batch again, over that row."""
    messages, calendar = harness.context.topic_messages, harness.ledger.calendar
    async with harness.ledger.transaction() as connection:
        changes = UnitOfWork(connection, messages, calendar, harness.clock())
        changes.put(None, first_row(a_key(recipient=PHONE), ACTIVE.customer_id, harness.clock()))
        await changes.write()
        ingesting = asyncio.create_task(harness.ingest(onay()))
        await asyncio.sleep(1)
    await ingesting
    assert await harness.columns("desired_status") == ("ONAY",)


async def test_retailer_refusal_without_index_costs_no_other_item(harness: SinkHarness):
    """İYS answers a list as it answers a single add: H180, without an index."""
    people = await harness.ingest_for(onay, range(8))
    harness.iys.inject_fault("batchV2", status=403, code="H180")
    assert await harness.bulk()
    assert set(await harness.states_of(people)) == {"awaiting_result"}


@pytest.mark.parametrize("state", ["pending", "in_flight", "awaiting_result", "accepted"])
async def test_event_repeated_with_later_date_is_submitted_once(harness: SinkHarness, state: str):
    """A form is sent twice and has no date: the event is the same, its date is not."""
    first = given_at(minutes_ago(30))
    again = replace(first, consent_date=minutes_ago(10), received_at=minutes_ago(10))
    await harness.ingest(first)
    if state in {"awaiting_result", "accepted"}:
        assert await harness.bulk()
    if state == "accepted":
        assert await harness.settle()
    if state == "in_flight":
        harness.pacer.meanwhile = partial(harness.ingest, again)
        assert await harness.bulk()
    else:
        assert (await harness.row()).state == state
        await harness.ingest(again)
        await harness.bulk()
    await harness.settle()
    assert await harness.columns("state", "desired_at") == ("accepted", again.consent_date)
    assert harness.iys.calls("batchV2") == 1


async def test_opt_out_with_event_id_of_its_opt_in_is_submitted(harness: SinkHarness):
    """A source may number forms, and not events."""
    opt_in = given_at(minutes_ago(30), event_id="form-7")
    opt_out = replace(opt_in, status="RET", consent_date=minutes_ago(5), received_at=minutes_ago(5))
    await harness.ingest(opt_in)
    harness.pacer.at_slot = partial(harness.ingest, opt_out)
    assert await harness.bulk()
    steps = (harness.opt_out, harness.settle, harness.query)
    await harness.run(*steps, times=3, every=timedelta(0))
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False
