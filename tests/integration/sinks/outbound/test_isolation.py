"""What befalls one record, account or process costs no other."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent.obligation import Action
from izin.iys.wire_format.consents import RegisterRecord
from izin.iys.wire_format.json_reader import JsonReader
from izin.runtime.settings import SinkSettings
from izin.sinks import worker
from izin.sinks.inbound.pull import Puller
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.unit_of_work import UnitOfWork
from izin.sinks.record.errors import ConcurrentChangeError
from izin.sinks.record.transitions import first_row
from tests.integration.sinks.hearing import Topic, fresh
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    House,
    a_phone,
    onay,
    recently,
    ret,
    until,
)
from tests.support.builders import BRAND, PHONE, a_key, an_event

pytestmark = pytest.mark.database


async def test_a_brand_behind_another_address_of_the_account_is_pulled(house: House):
    """The process behind the one address pulls its brands; that of the other does not wait for it,
    for it could wait for ever.
    """
    await house.brand(replace(ACTIVE, egress_address="two"))
    lease_owner = replace(house.tools.lease_owner, account="ada", address="two")
    puller = Puller(
        tools=replace(house.tools, lease_owner=lease_owner),
        publisher=Topic(),  # type: ignore[arg-type]
        interval=timedelta(seconds=1),
    )
    async with house.ledger.sole(replace(lease_owner, address="one").sole("pull")):
        task = asyncio.create_task(worker._pull(puller, SinkSettings()))
        await until(lambda: house.twin.calls("changes") > 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_fault_of_one_account_stops_no_brand_of_another(house: House):
    """Ada's password has expired; Bob's opt-outs go on."""
    bobs = BRAND + 1
    await house.brand(replace(ACTIVE, account="ada"))
    await house.brand(replace(ACTIVE, brand_code=bobs, iys_code=200002, account="bob"))
    await house.ingest(onay(PHONE))
    tools = replace(house.tools, lease_owner=replace(house.tools.lease_owner, account="ada"))
    house.twin.weather("batchV2", status=401, code="H251")
    scheduler = house.scheduler
    assert await replace(scheduler, tools=tools, sender=replace(house.sender, tools=tools)).bulk()
    found = await standing.stops(house.ledger)
    assert [(one.brand_code, one.scope) for one in found] == [(BRAND, "account")]


async def test_whatever_iys_says_of_a_record_shows_that_a_stop_is_mended(house: House):
    """The subscription is open again; the one record that is tried is refused for itself (H178):
    opt-outs wait no minute more for each such record.
    """
    await house.told_onay(PHONE)
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            account="ada",
            channel="*",
            status="*",
            code="H521",
            reason="closed",
            scope="provider",
            now=house.clock(),
        )
    people = [a_phone(number) for number in range(2, 8)]
    await house.ingest(ret(PHONE), *(onay(person) for person in people))
    for person in people:
        house.twin.citizen("ONAY", person, source="IYS_WEB_YENI")  # newer than ours: H178
    house.passes(timedelta(minutes=2))
    minutes = 0
    while house.twin.register()[PHONE] == "ONAY" and minutes < 10:
        await house.scheduler.bulk()
        await house.scheduler.opt_out()
        house.passes(timedelta(minutes=1))
        minutes += 1
    assert minutes <= 1


async def test_a_status_that_is_pending_at_iys_ends_no_process(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """BEKLIYOR is in İYS's own texts."""
    house.twin.citizen("ONAY", PHONE, source="IYS_WEB_YENI")
    house.passes(timedelta(minutes=1))
    at = house.clock() - A_SECOND * 120
    await house.ingest(fresh(at))
    assert await house.scheduler.bulk()
    house.results_are_due()
    assert await house.poller.settle()
    assert (await house.entry()).action is Action.QUERY
    whole = RegisterRecord.read

    def pending(reader: JsonReader) -> RegisterRecord:
        return replace(whole(reader), status="BEKLIYOR")

    monkeypatch.setattr(RegisterRecord, "read", pending)
    await house.querier.ask()


async def test_a_key_that_pull_brings_at_the_same_time_ends_no_process(house: House):
    """The ingester reads again, and is not ended by it."""
    changes = UnitOfWork(house.tools.topic_messages, now=house.clock())
    async with house.ledger.transaction() as connection:
        changes.put(None, first_row(a_key(recipient=PHONE), ACTIVE.customer_id, house.clock()))
        await changes.write(connection)
        ingesting = asyncio.create_task(house.ingest(onay(PHONE)))
        await asyncio.sleep(1)
    with pytest.raises(ConcurrentChangeError):
        await ingesting


async def test_a_refusal_for_a_retailer_that_names_no_item_costs_nobody_else(house: House):
    """As a single add words it (H180, without an index), for a list."""
    people = [a_phone(number) for number in range(8)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", status=403, code="H180")
    assert await house.scheduler.bulk()
    assert {(await house.entry(person)).state for person in people} == {"awaiting_result"}


@pytest.mark.parametrize("state", ["pending", "in_flight", "awaiting_result", "accepted"])
async def test_a_statement_said_again_with_a_later_date_is_told_once_and_ends_no_process(
    house: House, state: str
):
    """A form is sent twice and names no date: the event is the same, its date is not."""
    first = an_event(
        event_id="twice", recipient=PHONE, consent_date=recently(30), received_at=recently(30)
    )
    again = replace(first, consent_date=recently(10), received_at=recently(10))
    await house.ingest(first)
    if state in {"awaiting_result", "accepted"}:
        assert await house.scheduler.bulk()
    if state == "accepted":
        house.results_are_due()
        assert await house.poller.settle()
    if state == "in_flight":
        ingested = again

        async def said_again() -> None:
            await house.ingest(ingested)

        house.turns.meanwhile = said_again
        assert await house.scheduler.bulk()
    else:
        assert (await house.entry()).state == state
        await house.ingest(again)
        await house.scheduler.bulk()
    house.results_are_due()
    await house.poller.settle()
    entry = await house.entry()
    assert (entry.state, entry.desired_at) == ("accepted", again.consent_date)
    assert house.twin.calls("batchV2") == 1


async def test_a_no_that_bears_the_id_of_its_yes_is_a_statement_of_its_own(house: House):
    """A sender who numbers forms, not statements: the "no" is told, whatever the yes is about."""
    yes = an_event(
        event_id="form-7", recipient=PHONE, consent_date=recently(30), received_at=recently(30)
    )
    no = replace(yes, status="RET", consent_date=recently(5), received_at=recently(5))

    async def said_no() -> None:
        await house.ingest(no)

    await house.ingest(yes)
    house.turns.meanwhile = said_no
    assert await house.scheduler.bulk()
    for _ in range(3):
        await house.scheduler.opt_out()
        house.results_are_due()
        await house.poller.settle()
        await house.querier.ask()
    entry = await house.entry()
    assert (house.twin.register(), entry.may_send) == ({PHONE: "RET"}, False)
