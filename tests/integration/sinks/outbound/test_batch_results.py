"""Batches whose results do not come, and opt-outs that wait for nothing of others."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from izin.iys import CircuitState
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.rate_limit.pace import CallClass
from izin.iys.wire_format.consents import Stream
from izin.sinks.record.errors import ConcurrentChangeError
from tests.integration.sinks.hearing import pull
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    IYS_CODE,
    House,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database


async def test_results_that_iys_refuses_for_good_are_given_up(house: House):
    """Opt-outs were told by the thousand; their results may not be had (the brand is another
    account's now); everything else works. A no must not wait for it for ever.
    """
    people = [a_phone(number) for number in range(60)]
    await house.ingest(*(onay(person, minutes=60) for person in people))
    assert await house.scheduler.bulk()
    house.results_are_due()
    assert await house.poller.settle()
    await house.ingest(*(ret(person) for person in people))
    house.twin.order("settings", resultDelay=10**7)  # İYS never processes it
    assert await house.scheduler.opt_out()
    assert house.twin.calls("batchV2") == 2
    house.twin.order("settings", resultDelay=300)
    house.twin.weather("resultV2", status=403, code="H353", times=None)
    for _ in range(6):
        house.passes(timedelta(days=1))
        await house.poller.settle()
        await house.querier.ask()
        await house.scheduler.opt_out()
    assert set(house.twin.register().values()) == {"RET"}


async def test_opt_outs_of_a_batch_that_never_settles_are_told_again_in_time(house: House):
    """İYS took the list on a Monday and says "enqueue" for ever; three business days are three
    days then.
    """
    monday = house.clock() + timedelta(days=(7 - house.clock().weekday()) % 7 + 7)
    house.passes(monday.replace(hour=9, minute=0) - house.clock())
    people = [a_phone(number) for number in range(60)]
    for person in people:
        house.twin.citizen("ONAY", person, source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await house.ingest(*await pull(house, Stream.IYS))
    at = house.clock()
    await house.ingest(
        *(ret(person, consent_date=at, received_at=at, event_id=person) for person in people)
    )
    house.twin.order("settings", resultDelay=10**7)
    assert await house.scheduler.opt_out()
    assert house.twin.calls("batchV2") == 1
    house.twin.order("settings", resultDelay=300)
    due = (await house.entry(people[0])).due_at
    assert due is not None
    while house.clock() < due - timedelta(hours=1):
        house.passes(timedelta(minutes=55))
        # İYS's clock runs ahead of the one by which its token calls are counted.
        await house.ledger.fetch("UPDATE rate_limits SET token_calls = '{}' RETURNING 1")
        while await house.poller.settle():
            pass
        await house.querier.ask()
        await house.scheduler.opt_out()
    assert set(house.twin.register().values()) == {"RET"}


async def test_results_are_given_up_after_three_days_of_asking_not_of_being_away(house: House):
    """İYS was away for four days; the list was handed in again; its first result is "enqueue"."""
    await house.brand_in_loading()
    house.twin.order("brands", brandCode=BRAND, iysCode=IYS_CODE, name="Örnek", activatedAt=None)
    await house.ingest(onay(PHONE))
    house.twin.weather("batchV2", drop="before")
    assert await house.scheduler.bulk()
    house.twin.order("settings", resultDelay=3000)
    assert await house.recovery(timedelta(days=4)).recover()
    house.results_are_due()
    assert await house.poller.settle()
    assert (await house.entry()).state != "accepted"
    # A no comes now; nothing is to be withdrawn, İYS says; and then the yes lands.
    await house.ingest(
        ret(PHONE, consent_date=house.clock(), received_at=house.clock(), event_id="no")
    )
    for _ in range(8):
        house.passes(timedelta(minutes=10))
        await house.scheduler.opt_out()
        await house.poller.settle()
    assert house.twin.register().get(PHONE) != "ONAY"


async def test_a_lost_opt_out_is_taken_up_while_bulk_rests(house: House):
    """İYS does not take batches for hours; single adds it takes."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", drop="before")
    assert await house.scheduler.opt_out()
    assert (await house.entry()).state == "unknown"
    people = [a_phone(number) for number in range(2, 40)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", drop="before", times=None)
    one_by_one = replace(house.scheduler, batch_size=1)
    while await one_by_one.bulk():
        pass
    for _ in range(8):  # an hour and more, in which each try fails
        house.passes(timedelta(minutes=10))
        await one_by_one.bulk()
    assert house.tools.client.circuit_state("add_batch") is CircuitState.OPEN
    assert house.tools.client.circuit_state("add") is CircuitState.CLOSED
    await house.recovery(A_SECOND * 30).recover()
    assert house.tools.client.circuit_state("add_batch") is CircuitState.OPEN
    assert house.twin.register()[PHONE] == "RET"


async def test_bulk_that_was_lost_spends_nothing_that_is_kept_for_opt_outs(house: House):
    """A lost batch of a stopped brand is only read: by questions of the class of bulk."""
    people = [a_phone(number) for number in range(5)]
    await house.ingest(*(onay(person) for person in people))
    house.twin.weather("batchV2", drop="before")
    assert await house.scheduler.bulk()
    await house.brand(replace(ACTIVE, status="stopped"))
    before = len(house.turns.classes)
    recovery = house.recovery()
    await recovery.recover()
    assert house.twin.calls("status") == 5
    assert CallClass.RET not in house.turns.classes[before:]


async def test_who_wakes_after_a_refusal_tells_nothing_that_another_has_told_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """İYS refuses a batch for one record; the process is paused before it can write that down;
    another takes the batch up, tells it, and the person says no; then the first one wakes.
    """
    people = [a_phone(number) for number in range(1, 4)]
    await house.ingest(*(onay(person) for person in people))
    tools = replace(house.tools, lease_owner=replace(house.tools.lease_owner, owner="7"))
    other = replace(
        house.recovery(timedelta(0)), tools=tools, sender=replace(house.sender, tools=tools)
    )
    call = IysClient.add_batch
    first = True

    async def paused(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the call is given
        nonlocal first
        if not first:
            return await call(*args, **named)
        first = False
        house.twin.weather("batchV2", status=422, code="H120")
        try:
            return await call(*args, **named)
        except CallError:
            house.passes(timedelta(seconds=61))
            assert await other.recover()
            house.results_are_due()
            assert await house.poller.settle()
            await house.ingest(
                ret(people[0], consent_date=house.clock(), received_at=house.clock())
            )
            house.passes(A_SECOND * 2)
            assert await house.scheduler.opt_out()
            assert house.twin.register()[people[0]] == "RET"
            raise

    monkeypatch.setattr(IysClient, "add_batch", paused)
    scheduler = house.scheduler
    with suppress(ConcurrentChangeError):
        assert await scheduler.bulk()
    assert house.twin.calls("batchV2") == 2
    rows = await house.ledger.fetch(
        "SELECT 1 FROM submission_items WHERE state = 'open' AND status = 'ONAY'"
    )
    assert not rows
