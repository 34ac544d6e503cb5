"""What is due reaches İYS once, whatever happens to the call, and the ledger ends as İYS does.

Of many opt-outs none waits for others: neither one whose opt-in is in flight, nor an unknown.

The receipt of an earlier save does not show what is registered now.

An opt-out that İYS does not accept as it is, is rescued by another, whatever the clocks show.
"""

from datetime import UTC, datetime, timedelta

import pytest

from izin.consent import Action
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    RESULT_DELAY,
    SinkHarness,
    a_phone,
    given_at,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_opt_in_goes_by_batch_and_permits_once_saved(harness: SinkHarness):
    """A 202 is not "saved", and "enqueue" means nothing: the permission follows the result."""
    await harness.submit_bulk(onay())
    harness.advance(RESULT_DELAY, at_iys=False)
    assert await harness.poller.settle()
    assert (await harness.row()).state == "awaiting_result"
    assert await harness.permissions() == [False]
    assert await harness.settle()
    assert await harness.columns("state", "registered", "may_send") == ("accepted", "ONAY", True)
    assert await harness.permissions() == [False, True]
    assert await harness.outcomes() == ["accepted"]
    assert harness.iys.register() == {PHONE: "ONAY"}


async def test_opt_out_goes_at_once_by_single_add(harness: SinkHarness):
    """Answered in one step. Two movements of a key are a second apart: İYS's clock has whole
    seconds, and cannot order two within one.
    """
    scheduler = harness.scheduler
    await harness.ingest_opt_out()
    assert (await harness.row()).may_send is False
    assert not await scheduler.opt_out()
    harness.advance(A_SECOND)
    assert await scheduler.opt_out()
    assert await harness.columns("state", "registered") == ("accepted", "RET")
    assert harness.iys.register() == {PHONE: "RET"}


async def test_refused_opt_out_is_rescued_once_and_then_parked(harness: SinkHarness):
    """Whatever İYS finds wrong with an opt-out, it does not end there."""
    await harness.ingest_opt_out()
    await harness.meet_fault("addV2", harness.opt_out, status=422, code="H113", times=2)
    assert await harness.columns("state", "action", "code") == ("refused", "rescue", "H113")
    assert harness.unforeseen == ["H113"]
    await harness.submit_opt_out(*await harness.published())
    assert await harness.columns("state", "reason", "may_send") == (
        "parked",
        "opt-out-refused",
        False,
    )
    await harness.requeue("opt-out-refused")
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_many_opt_outs_of_unknown_keys_are_queried_first(harness: SinkHarness):
    """Thirty opt-outs cost one query, and only what İYS holds is submitted."""
    people = [a_phone(number) for number in range(30)]
    harness.iys.citizen("ONAY", people[7], source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await harness.ingest(*(ret(person) for person in people))
    await harness.drain(harness.opt_out)
    assert harness.iys.register() == {people[7]: "RET"}
    states = await harness.states_of(people)
    assert (states.pop(7), set(states)) == ("accepted", {"not_needed"})
    assert (harness.iys.calls("statuses"), harness.iys.calls("addV2")) == (1, 1)


async def test_opt_outs_whose_query_is_refused_are_submitted(harness: SinkHarness):
    """Where nothing is allowed at all, the brand is suspended after one query and one try."""
    await harness.ingest_for(ret, range(30))
    await harness.meet_fault("statuses", harness.opt_out, status=403, code="H353", times=2)
    assert harness.iys.calls("addV2") == 1
    await harness.meet_fault("addV2", harness.opt_out, status=403, code="H521")
    (suspension,) = await harness.suspensions()
    assert (suspension.code, suspension.scope) == ("H521", "provider")
    assert not await harness.opt_out()
    assert harness.iys.calls("statuses") == harness.iys.calls("addV2") == 2


async def test_queries_wait_while_iys_refuses_the_account(harness: SinkHarness):
    """Each refusal counts against the address: one query an interval, none while suspended."""
    await harness.ingest(onay())
    await harness.ledger.fetch("UPDATE consents SET action = 'query' RETURNING key")
    await harness.meet_fault("status", harness.query, status=403, code="H521", times=2)
    harness.advance(timedelta(minutes=14))
    assert not await harness.query()
    harness.advance(timedelta(minutes=1))
    assert await harness.query()
    await harness.suspend("H521", now=harness.clock() + timedelta(minutes=15), scope="provider")
    harness.advance(timedelta(minutes=15))
    assert not await harness.query()
    harness.advance(timedelta(minutes=2))
    assert await harness.query()
    assert harness.iys.calls("status") == 3


async def test_opt_out_overtakes_an_opt_in_without_result(harness: SinkHarness):
    """It is submitted at once; when the opt-in settles, the row ends as RET."""
    await harness.ingest(onay(minutes=10))
    await harness.bulk()
    await harness.ingest(ret(minutes=5))
    assert await harness.opt_out()
    # İYS has not saved the opt-in yet, so it knows no record to withdraw: that is not final.
    assert await harness.columns("state", "action", "code") == ("retryable", "wait", "H175")
    assert not await harness.opt_out()
    assert await harness.settle()
    assert await harness.opt_out()
    assert await harness.columns("state", "registered", "may_send") == ("accepted", "RET", False)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_bad_item_costs_a_batch_only_itself(harness: SinkHarness):
    """A 422 names an item: it is refused, and the others are submitted at once."""
    late, others = onay(a_phone(2), minutes=60 * 24 * 30), [a_phone(number) for number in (0, 1, 3)]
    harness.close_days(40, ago=35)  # by a calendar that İYS does not have
    await harness.submit_bulk(onay(others[0]), onay(others[1]), late, onay(others[2]))
    assert harness.iys.calls("batchV2") == 2
    assert await harness.columns("state", "code", recipient=late.recipient) == ("expired", "H467")
    assert await harness.settle()
    assert set(await harness.states_of(others)) == {"accepted"}
    assert late.recipient not in harness.iys.register()


async def test_opt_in_whose_term_ends_expires(harness: SinkHarness):
    """While it waits, or before it came; it is not submitted, and its outcome is published."""
    await harness.ingest(onay(), onay(a_phone(2), minutes=60 * 24 * 30))
    assert await harness.states_of([PHONE, a_phone(2)]) == ["pending", "expired"]
    harness.advance(timedelta(days=20))
    assert await harness.scheduler.expire()
    assert not await harness.scheduler.expire()
    assert not await harness.bulk()
    assert (await harness.row()).state == "expired"
    assert await harness.outcomes() == ["expired"] * 2


async def test_spent_quota_suspends_opt_ins_and_no_opt_out(harness: SinkHarness):
    """H525: opt-ins wait behind one suspension with its reason."""
    await harness.register_onay(a_phone(11))
    harness.iys.brand(consentLimit=1)
    await harness.submit_bulk(onay(), onay(a_phone(2)))
    assert await harness.columns("state", "reason", "code") == ("parked", "quota-spent", "H525")
    (suspension,) = await harness.suspensions()
    assert (suspension.channel, suspension.status, suspension.code) == ("*", "ONAY", "H525")
    await harness.ingest(onay(a_phone(3)))
    assert not await harness.bulk()
    await harness.submit_opt_out(ret(a_phone(11)))
    assert harness.iys.register()[a_phone(11)] == "RET"
    assert len(await harness.suspensions()) == 1, "an opt-out shows no room for opt-ins"
    await harness.requeue("quota-spent")
    assert await harness.suspensions() == ()


async def test_lost_right_suspends_a_channel_and_is_retried(harness: SinkHarness):
    """Records wait, whatever a person requeues; when a retry succeeds, the suspension ends."""
    await harness.refuse_opt_out(403, "H353")
    await harness.requeue("reconsent")
    assert await harness.columns("state", "code") == ("retryable", "H353")
    (suspension,) = await harness.suspensions()
    assert (suspension.channel, suspension.status) == ("MESAJ", "*")
    assert not await harness.opt_out()
    await harness.ledger.fetch("UPDATE suspensions SET recheck_at = now() RETURNING brand_code")
    await harness.ledger.fetch("UPDATE consents SET next_attempt_at = now() RETURNING key")
    assert await harness.opt_out()
    assert (await harness.row()).state == "accepted"
    assert await harness.suspensions() == ()


async def test_opt_out_that_iys_takes_for_old_is_rescued(harness: SinkHarness):
    """H178 while İYS shows ONAY: the old event stays on record, and a new one of today follows."""
    harness.iys.citizen("ONAY", source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await harness.submit_opt_out(ret(consent_date=datetime(2025, 12, 1, tzinfo=UTC)))
    if (await harness.row()).state == "unknown":
        assert await harness.query()
    row = await harness.row()
    (event,) = await harness.published()
    assert (event.status, event.source, event.cause) == (
        "RET",
        "HS_KARAR",
        row.desired_event_id,
    )
    await harness.submit_opt_out(event)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_many_opt_outs_of_opt_ins_in_flight_are_a_batch(harness: SinkHarness) -> None:
    """One call for all of them, with those of registered opt-ins: İYS processes it after the
    opt-ins, and refuses none.
    """
    await harness.register(*(onay(a_phone(number)) for number in range(30)))
    await harness.ingest_for(onay, range(30, 60))
    assert await harness.bulk()
    people = await harness.ingest_for(ret, range(60))
    await harness.drain(harness.opt_out)
    assert (harness.iys.calls("batchV2"), harness.iys.calls("addV2")) == (3, 0)
    await harness.drain(harness.settle, harness.opt_out)
    assert harness.iys.register() == dict.fromkeys(people, "RET")
    assert set(await harness.states_of(people)) == {"accepted"}
    assert harness.iys.calls("addV2") == 0


@pytest.mark.parametrize(("unknown", "queries"), [(8, 1), (1, 0)], ids=["many", "one"])
async def test_unknown_opt_outs_have_their_turn_among_known_ones(
    harness: SinkHarness, unknown: int, queries: int
) -> None:
    """While opt-outs of registered opt-ins keep coming, the others are queried all the same; a
    single one is submitted, not queried.
    """
    await harness.register(*(onay(a_phone(number)) for number in range(8)))
    scheduler = harness.scheduler
    others = await harness.ingest_for(ret, range(90, 90 + unknown))
    await harness.ingest_for(ret, range(8))
    harness.start_second()
    for _ in range(6):
        assert await scheduler.opt_out()
    assert (harness.iys.calls("statuses"), harness.iys.calls("addV2")) == (queries, 6 - queries)
    assert set(await harness.states_of(others)) == {"not_needed"}


async def test_original_success_of_repeated_batch_permits_nothing(
    harness: SinkHarness,
):
    """An earlier ledger submitted this very opt-in, and the citizen has opted out since."""
    harness.close_days(12)
    event = onay(minutes=60)
    await harness.register_onay()
    harness.iys.citizen("RET")
    # A new ledger, into which the same is read again.
    await harness.forget()
    harness.advance(timedelta(days=8))  # no pull shows it any more
    harness.iys.brand(activatedAt=None)
    await harness.lose_batch(event)
    assert await harness.recover()
    assert await harness.settle()
    await harness.run(harness.query, times=3, every=timedelta(minutes=5))
    assert harness.iys.register() == {PHONE: "RET"}
    assert await harness.columns("registered", "may_send") == ("RET", False)
    assert True not in await harness.permissions()


async def test_original_success_of_single_add_permits_nothing(harness: SinkHarness):
    """The receipt is old, and the citizen has opted out since."""
    event = given_at(harness.clock() - timedelta(minutes=30))
    await harness.ingest(event)
    soon = harness.clock() + timedelta(minutes=50)
    await harness.set_columns(expires_at=soon)
    assert await harness.scheduler.last_hour()
    assert (await harness.row()).state == "accepted", "the result of a batch would come too late"
    harness.citizen("RET", then=timedelta(minutes=20))
    await harness.forget()
    await harness.ingest(event)
    await harness.set_columns(expires_at=soon)
    assert await harness.scheduler.last_hour()
    await harness.run(harness.query, times=3, every=timedelta(minutes=1))
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


@pytest.mark.parametrize(
    ("fault", "ahead"),
    [({"source": "HS_OUR_SHOP"}, 0), ({"retailer_code": 12345678}, 0), ({"source": "HS_X"}, 2)],
    ids=["not registrable", "refused by İYS", "dated ahead of the sink"],
)
async def test_opt_out_rescued_in_its_own_second_reaches_iys(
    harness: SinkHarness, fault: dict[str, object], ahead: int
):
    """The sink decides within the second in which the opt-out was given, or before it: correct
    clocks differ. No alert covers what İYS has refused.
    """
    await harness.register_onay()
    scheduler = harness.scheduler
    harness.start_second()
    at = harness.clock() + ahead * A_SECOND
    event_id = "ffffffff-0000-5000-8000-000000000001"
    await harness.ingest(ret(event_id=event_id, consent_date=at, received_at=at, **fault))
    if "retailer_code" in fault:
        assert await scheduler.opt_out()
        assert await harness.columns("state", "code") == ("refused", "H180")
    assert (await harness.row()).action is Action.RESCUE
    harness.advance(ahead * A_SECOND)
    await harness.ingest_each(await harness.published())
    await harness.run(
        harness.opt_out, harness.query, harness.recover_now, times=10, every=timedelta(hours=12)
    )
    assert harness.iys.register() == {PHONE: "RET"}


async def test_opt_out_that_waits_for_its_rescue_alerts(harness: SinkHarness):
    """The event was published days ago and has not come back."""
    await harness.refuse_opt_out(422, "H113")
    harness.advance(timedelta(days=10))
    assert await harness.monitor.check()
