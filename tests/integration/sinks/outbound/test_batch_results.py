"""Batches whose results do not come, and opt-outs that wait for no other record."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from izin.consent.next_action import Action
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.rate_limit import CallClass
from izin.iys.transport.circuit_breaker import CircuitState
from izin.iys.wire_format.consents import Stream
from izin.sinks.record.errors import ConcurrentChangeError
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    OTHER,
    Killed,
    SinkHarness,
    a_phone,
    die,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_results_refused_for_good_are_given_up(harness: SinkHarness):
    """The brand moved to another account, so that İYS shows no results; the opt-outs are settled
    by queries.
    """
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(60)))
    await harness.ingest_for(ret, range(60))
    harness.iys.post("settings", resultDelay=10**7)  # İYS never processes it
    assert await harness.opt_out()
    assert harness.iys.calls("batchV2") == 2
    harness.iys.post("settings", resultDelay=300)
    harness.iys.inject_fault("resultV2", status=403, code="H353", times=None)
    await harness.run(
        harness.poller.settle, harness.query, harness.opt_out, times=6, every=timedelta(days=1)
    )
    assert set(harness.iys.register().values()) == {"RET"}


async def test_opt_outs_of_unsettled_batch_are_sent_again_in_time(harness: SinkHarness):
    """İYS took the batch on a Monday and answers "enqueue" for ever."""
    monday = harness.clock() + timedelta(days=(7 - harness.clock().weekday()) % 7 + 7)
    harness.advance(monday.replace(hour=9, minute=0) - harness.clock())
    people = [a_phone(number) for number in range(60)]
    for person in people:
        harness.iys.citizen(
            "ONAY", person, source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00"
        )
    await harness.ingest(*await harness.pull(Stream.IYS))
    at = harness.clock()
    await harness.ingest(
        *(ret(person, consent_date=at, received_at=at, event_id=person) for person in people)
    )
    harness.iys.post("settings", resultDelay=10**7)
    assert await harness.opt_out()
    assert harness.iys.calls("batchV2") == 1
    harness.iys.post("settings", resultDelay=300)
    due = (await harness.row(people[0])).due_at
    assert due is not None
    while harness.clock() < due - timedelta(hours=1):
        harness.advance(timedelta(minutes=55))
        # İYS's clock runs ahead of the one by which its token calls are counted.
        await harness.ledger.fetch("UPDATE rate_limits SET token_calls = '{}' RETURNING 1")
        while await harness.poller.settle():
            pass
        await harness.query()
        await harness.opt_out()
    assert set(harness.iys.register().values()) == {"RET"}


async def test_results_are_given_up_after_three_days_of_polling(
    harness: SinkHarness,
):
    """An outage of four days does not count as polling."""
    harness.close_days(10)
    harness.iys.brand(activatedAt=None)
    await harness.ingest(onay())
    await harness.lose_batch()
    harness.iys.post("settings", resultDelay=3000)
    assert await harness.recover(timedelta(days=4))
    assert await harness.settle()
    assert (await harness.row()).state != "accepted"
    # An opt-out comes, and İYS has nothing to withdraw; then the opt-in is registered.
    at = harness.clock()
    await harness.ingest(ret(consent_date=at, received_at=at, event_id="no"))
    await harness.run(harness.opt_out, harness.poller.settle, times=8, every=timedelta(minutes=10))
    assert harness.iys.register().get(PHONE) != "ONAY"


async def test_result_that_an_opt_out_waits_for_is_polled_first(harness: SinkHarness):
    """İYS holds an opt-out, and a newer opt-in is on its way: whether the newest opt-out is needed
    depends on it.
    """
    await harness.register(onay(minutes=40))
    await harness.ingest(ret(minutes=30))
    assert await harness.opt_out()
    other = a_phone(2)
    for opt_in in (onay(other, minutes=20), onay(minutes=20)):
        await harness.ingest(opt_in)
        assert await harness.bulk()
    await harness.ingest(ret(minutes=10))
    assert (await harness.row()).action is Action.WAIT
    harness.pacer.classes.clear()
    assert await harness.settle()
    assert (await harness.row()).action is Action.SEND
    assert (await harness.row(other)).state == "awaiting_result"
    assert not await harness.poller.settle_for_opt_outs()
    assert await harness.poller.settle()
    assert harness.pacer.classes == [CallClass.RET, CallClass.RESULTS]


async def test_result_that_an_opt_out_waits_for_is_polled_beside_others(harness: SinkHarness):
    """It does not wait for the call of another result, behind the opt-outs of that second."""
    await harness.register(onay(minutes=40))
    await harness.ingest(ret(minutes=30))
    assert await harness.opt_out()
    for opt_in in (onay(a_phone(2), minutes=20), onay(minutes=20)):
        await harness.ingest(opt_in)
        assert await harness.bulk()

    async def meanwhile() -> None:
        await harness.ingest(ret(minutes=10))
        assert await harness.poller.settle_for_opt_outs()
        assert (await harness.row()).action is Action.SEND

    harness.pacer.meanwhile = meanwhile
    assert await harness.settle()


async def test_result_that_a_dead_worker_polled_is_polled_at_once(harness: SinkHarness):
    """Opt-outs may wait for it: not until a lease ends."""
    await harness.ingest(onay())
    assert await harness.bulk()
    harness.become_process(OTHER)
    harness.pacer.at_slot = die
    with pytest.raises(Killed):
        await harness.settle()
    harness.become_process(harness.ledger.owner)
    assert await harness.poller.settle()
    assert (await harness.row()).state == "accepted"


async def test_lost_opt_out_is_recovered_while_bulk_circuit_is_open(harness: SinkHarness):
    """İYS takes no batches for hours, but single adds."""
    await harness.lose_opt_out()
    await harness.ingest_for(onay, range(2, 40))
    harness.iys.inject_fault("batchV2", drop="before", times=None)
    one_by_one = replace(harness.scheduler, batch_size=1)
    while await one_by_one.bulk():
        pass
    # An hour and more, in which each try fails.
    await harness.run(one_by_one.bulk, times=8, every=timedelta(minutes=10))
    assert harness.context.client.circuit_state("add_batch") is CircuitState.OPEN
    assert harness.context.client.circuit_state("add") is CircuitState.CLOSED
    await harness.recover(A_SECOND * 3)
    assert harness.context.client.circuit_state("add_batch") is CircuitState.OPEN
    assert harness.iys.register()[PHONE] == "RET"


async def test_lost_batch_is_queried_in_the_bulk_class(harness: SinkHarness):
    """The recovery of a stopped brand's batch spends nothing that is reserved for opt-outs."""
    await harness.ingest_for(onay, range(21))
    await harness.lose_batch()
    await harness.brand(replace(ACTIVE, status="stopped"))
    before = len(harness.pacer.classes)
    await harness.recover()
    assert (harness.iys.calls("statuses"), harness.iys.calls("status")) == (1, 0)
    assert CallClass.RET not in harness.pacer.classes[before:]


async def test_paused_worker_does_not_resend_items_of_another(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """İYS refuses a batch for one record, and the worker is paused before it records that. Another
    submits the batch and a later opt-out; then the first one wakes.
    """
    people = await harness.ingest_for(onay, range(1, 4))
    other = harness.other_worker()
    call = IysClient.add_batch
    first = True

    async def paused(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the call is given
        nonlocal first
        if not first:
            return await call(*args, **named)
        first = False
        harness.iys.inject_fault("batchV2", status=422, code="H120")
        try:
            return await call(*args, **named)
        except CallError:
            harness.advance(timedelta(seconds=61))
            assert await other.recover()
            assert await harness.settle()
            await harness.ingest(
                ret(people[0], consent_date=harness.clock(), received_at=harness.clock())
            )
            harness.advance(A_SECOND * 2)
            assert await harness.opt_out()
            assert harness.iys.register()[people[0]] == "RET"
            raise

    monkeypatch.setattr(IysClient, "add_batch", paused)
    scheduler = harness.scheduler
    with suppress(ConcurrentChangeError):
        assert await scheduler.bulk()
    assert harness.iys.calls("batchV2") == 2
    rows = await harness.ledger.fetch(
        "SELECT 1 FROM submission_items WHERE state = 'open' AND status = 'ONAY'"
    )
    assert not rows
