"""Batches whose results do not come, and opt-outs that wait for no other record.

Of a query that İYS refuses, the bad recipient is found and all others are answered.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from izin.consent import Action
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.rate_limit import CallClass, CircuitState
from izin.iys.wire_format import Stream
from izin.ledger.record import READ_BACK, ConcurrentChangeError, is_read_back
from izin.sinks.outbound.status_query import SINGLES
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    OTHER,
    RESULT_DELAY,
    TOPIC,
    Killed,
    SinkHarness,
    a_phone,
    die,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database
PEOPLE = [a_phone(number) for number in range(SINGLES + 10)]
BAD = "+90555"
"""No phone number for İYS; it is in the ledger as if İYS had a newer rule."""
UNNAMED = "Ada@example.com"
"""No phone number either, and İYS names it in lower case: no recipient of the ledger."""


async def test_results_refused_for_good_are_given_up(harness: SinkHarness):
    """The brand moved to another account, so that İYS shows no results; the opt-outs are settled
    by queries.
    """
    await harness.register(*(onay(a_phone(number), minutes=60) for number in range(60)))
    await harness.ingest_for(ret, range(60))
    harness.iys.post("settings", resultDelay=10**7)  # İYS never processes it
    assert await harness.opt_out()
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
    harness.iys.post("settings", resultDelay=300)
    due = (await harness.row(people[0])).due_at
    assert due is not None
    while harness.clock() < due - timedelta(hours=1):
        harness.advance(timedelta(minutes=55))
        # İYS's clock runs ahead of the one by which its token calls are counted.
        await harness.ledger.fetch("UPDATE rate_limits SET token_calls = '{}' RETURNING 1")
        await harness.drain(harness.poller.settle)
        await harness.query()
        await harness.opt_out()
    assert set(harness.iys.register().values()) == {"RET"}


async def test_results_are_given_up_after_three_days_of_polling(
    harness: SinkHarness,
):
    """An outage of four days does not count as polling."""
    harness.close_days(10)
    harness.iys.brand(activatedAt=None)
    await harness.lose_batch(onay())
    harness.iys.post("settings", resultDelay=3000)
    assert await harness.recover(timedelta(days=4))
    assert await harness.settle()
    # An opt-out comes, and İYS has nothing to withdraw; then the opt-in is registered.
    at = harness.clock()
    await harness.ingest(ret(consent_date=at, received_at=at, event_id="no"))
    await harness.run(harness.opt_out, harness.poller.settle, times=8, every=timedelta(minutes=10))
    assert harness.iys.register().get(PHONE) != "ONAY"


async def opt_in_between_opt_outs(harness: SinkHarness, other: str) -> None:
    """Have İYS hold an opt-out, while a newer opt-in is on its way behind that of ``other``:
    whether the next opt-out is needed depends on it.
    """
    await harness.register(onay(minutes=40))
    await harness.submit_opt_out(ret(minutes=30))
    for opt_in in (onay(other, minutes=20), onay(minutes=20)):
        await harness.submit_bulk(opt_in)


async def test_result_that_an_opt_out_waits_for_is_polled_first(harness: SinkHarness):
    """The other one is polled in its turn, and takes nothing that is reserved for opt-outs."""
    other = a_phone(2)
    await opt_in_between_opt_outs(harness, other)
    await harness.ingest(ret(minutes=10))
    harness.pacer.classes.clear()
    assert await harness.settle()
    assert (await harness.row()).action is Action.SEND
    assert (await harness.row(other)).state == "awaiting_result"
    assert not await harness.poller.settle(opt_outs_only=True)
    assert await harness.poller.settle()
    assert harness.pacer.classes == [CallClass.RET, CallClass.RESULTS]


async def test_result_that_an_opt_out_waits_for_is_polled_beside_others(harness: SinkHarness):
    """It does not wait for the call of another result, behind the opt-outs of that second."""
    await opt_in_between_opt_outs(harness, a_phone(2))

    async def meanwhile() -> None:
        await harness.ingest(ret(minutes=10))
        assert await harness.poller.settle(opt_outs_only=True)
        assert (await harness.row()).action is Action.SEND

    harness.pacer.meanwhile = meanwhile
    assert await harness.settle()


async def test_result_that_was_polled_often_is_polled_soon_for_an_opt_out(harness: SinkHarness):
    """İYS showed none for hours, so that the next poll is an hour away; the first one keeps its
    time, before which İYS has no result.
    """
    await harness.register(onay(minutes=40))
    await harness.submit_opt_out(ret(minutes=30))
    harness.iys.post("settings", resultDelay=10**7)
    await harness.submit_bulk(onay(minutes=20))
    soon = RESULT_DELAY / 2 + A_SECOND
    harness.advance(soon)
    assert not await harness.poller.settle(opt_outs_only=True)
    for _ in range(8):
        harness.advance(timedelta(hours=1))
        assert await harness.poller.settle()
    await harness.ingest(ret(minutes=10))
    assert not await harness.poller.settle(opt_outs_only=True)
    harness.advance(soon)
    assert await harness.poller.settle(opt_outs_only=True)


async def test_result_that_a_dead_worker_polled_is_polled_at_once(harness: SinkHarness):
    """Opt-outs may wait for it: not until a lease ends."""
    await harness.submit_bulk(onay())
    harness.become(owner=OTHER)
    harness.pacer.at_slot = die
    with pytest.raises(Killed):
        await harness.settle()
    harness.become(owner=harness.ledger.owner)
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
    await harness.recover(A_SECOND * 3)
    assert harness.iys.register()[PHONE] == "RET"


async def test_lost_batch_is_queried_in_the_bulk_class(harness: SinkHarness):
    """The recovery of a stopped brand's batch spends nothing that is reserved for opt-outs."""
    await harness.lose_batch_of(21)
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

    async def paused(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the call is given
        monkeypatch.setattr(IysClient, "add_batch", call)
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
    assert not await harness.ledger.fetch(
        "SELECT 1 FROM submission_items WHERE state = 'open' AND status = 'ONAY'"
    )


async def make_bad(harness: SinkHarness, recipient: str, bad: str = BAD) -> None:
    """Make a recipient one that İYS refuses."""
    await harness.ledger.fetch(
        "UPDATE consents SET recipient = %(bad)s WHERE recipient = %(recipient)s RETURNING key",
        {"bad": bad, "recipient": recipient},
    )


async def to_query(harness: SinkHarness, people: Sequence[str] = PEOPLE) -> None:
    """Ingest opt-ins that İYS has already, and whose status is to be queried."""
    for person in people:
        harness.iys.citizen("ONAY", person, source="IYS_WEB_YENI")
    await harness.ingest(*(onay(person) for person in people))
    for state, action in (("in_flight", "send"), ("unknown", "query")):
        await harness.set_columns(state=state, action=action, attempts=1)


@pytest.mark.parametrize("place", [0, 13, len(PEOPLE) - 1])
@pytest.mark.parametrize("recipient", [BAD, UNNAMED])
async def test_bad_recipient_of_a_query_is_parked_alone(
    harness: SinkHarness, place: int, recipient: str
):
    """It is parked with İYS's code, and all others are answered in the same step."""
    await to_query(harness)
    await make_bad(harness, PEOPLE[place], recipient)
    assert await harness.query()
    found = await harness.states_of(PEOPLE)
    assert (found.pop(place), set(found)) == ("parked", {"accepted"})
    row = await harness.row(PEOPLE[place])
    assert (row.reason, row.code) == ("question-refused", "H121")
    assert not await harness.query()
    await harness.requeue(row.reason)
    assert (await harness.row(PEOPLE[place])).state == "pending"


async def test_query_refused_without_recipient_is_halved(harness: SinkHarness):
    """Each half is queried, and all are answered."""
    await to_query(harness)
    await harness.meet_fault("statuses", harness.query, status=422, code="H464")
    assert set(await harness.states_of(PEOPLE)) == {"accepted"}
    assert harness.iys.calls("statuses") == 3


async def test_query_refused_for_every_recipient_is_given_up(harness: SinkHarness):
    """Each refusal counts against the address: after two single queries the rest waits, and
    nobody is parked for it.
    """
    await to_query(harness)
    await harness.meet_fault("statuses", harness.query, status=422, code="H117", times=1000)
    assert harness.iys.calls("statuses") < SINGLES
    assert harness.iys.calls("status") == 2
    assert sorted(set(await harness.states_of(PEOPLE))) == ["accepted", "unknown"]
    assert not await harness.query()


async def test_few_recipients_are_queried_one_by_one(harness: SinkHarness):
    """A bad one does not delay the others."""
    people = PEOPLE[:3]
    await to_query(harness, people)
    await make_bad(harness, people[0])
    assert await harness.query()
    assert await harness.states_of(people) == ["parked", "accepted", "accepted"]


async def test_opt_out_whose_query_is_refused_delays_no_other(harness: SinkHarness):
    """It is submitted without a query, and İYS's reply decides."""
    await harness.ingest(*(ret(person) for person in PEOPLE))
    await make_bad(harness, PEOPLE[3])
    await harness.drain(harness.opt_out)
    found = await harness.states_of(PEOPLE)
    assert (found.pop(3), set(found)) == ("refused", {"not_needed"})
    assert (await harness.row(PEOPLE[3])).action is Action.RESCUE
    assert harness.iys.calls("addV2") == 1


async def test_failed_query_does_not_delay_the_opt_out_that_came_meanwhile(harness: SinkHarness):
    """It was of an opt-in, and nobody waits for its answer any more."""
    (person,) = PEOPLE[:1]
    await to_query(harness, [person])
    harness.iys.inject_fault("status", status=400, code="H123")
    harness.pacer.meanwhile = partial(harness.ingest, ret(person))
    assert await harness.query()
    assert await harness.opt_out()


async def test_opt_out_is_read_back_though_the_queries_of_the_hour_are_spent(harness: SinkHarness):
    """Whether İYS shows an opt-in is all that matters, and that has no hourly limit."""
    await harness.register_onay()
    await harness.submit_opt_out(ret())
    await harness.set_columns(action="query", reason=READ_BACK)
    await harness.meet_fault("status", harness.query, status=429, code="H086", times=None)
    assert (harness.iys.calls("statuses"), harness.iys.calls("status")) == (1, 0)
    assert (await harness.row()).action is Action.NOTHING


@pytest.mark.parametrize("again", ["decided again", "newer"])
async def test_opt_out_stays_to_be_read_back(harness: SinkHarness, again: str):
    """A decision that is read in its turn, or a second opt-out, ends no doubt about an opt-in."""
    await harness.register_onay()
    (decision,) = await harness.ingest(ret(minutes=5))
    assert await harness.opt_out()
    await harness.set_columns(action="query", reason=READ_BACK)
    if again == "newer":
        await harness.ingest(ret(minutes=4))
    else:
        await harness.ingester.store(TOPIC, "topic", [decision], {})
    assert is_read_back(await harness.row())
    assert await harness.query()
    assert (await harness.row()).action is Action.NOTHING


@pytest.mark.parametrize("of_opt_out", [False, True])
async def test_query_of_a_process_that_is_gone_is_repeated_at_once(
    harness: SinkHarness, *, of_opt_out: bool
):
    """While the process lives, its lease keeps others from querying the same."""
    (person,) = PEOPLE[:1]
    await (harness.ingest(ret(person)) if of_opt_out else to_query(harness, [person]))
    lease = {"owner": OTHER, "until": harness.clock() + timedelta(minutes=1)}
    await harness.ledger.fetch(
        "UPDATE consents SET lease_owner = %(owner)s, lease_until = %(until)s RETURNING key", lease
    )
    query = harness.opt_out if of_opt_out else harness.query
    async with harness.living():
        assert not await query()
    assert await query()
