"""What is due reaches İYS once, whatever happens to the call, and the ledger ends as İYS does."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.sinks.sink_harness import (
    A_SECOND,
    RESULT_DELAY,
    SinkHarness,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_opt_in_goes_by_batch_and_permits_once_saved(harness: SinkHarness):
    """A 202 is not "saved": the permission follows the result."""
    await harness.ingest(onay())
    assert await harness.bulk()
    assert (await harness.row()).state == "awaiting_result"
    assert await harness.permissions() == [False]
    assert await harness.settle()
    assert await harness.columns("state", "registered", "may_send") == ("accepted", "ONAY", True)
    assert await harness.permissions() == [False, True]
    assert await harness.outcomes() == ["accepted"]
    assert harness.iys.register() == {PHONE: "ONAY"}


async def test_missing_result_is_polled_again(harness: SinkHarness):
    """An empty list and "enqueue" mean nothing for an item."""
    await harness.ingest(onay())
    await harness.bulk()
    harness.advance(RESULT_DELAY, at_iys=False)
    assert await harness.poller.settle()
    assert (await harness.row()).state == "awaiting_result"


async def test_opt_out_goes_at_once_by_single_add(harness: SinkHarness):
    """It is submitted and answered in one step."""
    await harness.ingest_opt_out()
    assert (await harness.row()).may_send is False
    assert await harness.opt_out()
    assert await harness.columns("state", "registered") == ("accepted", "RET")
    assert harness.iys.register() == {PHONE: "RET"}


async def test_opt_out_unknown_to_iys_is_not_needed(harness: SinkHarness):
    """H175: there is nothing to withdraw, and nothing may be sent."""
    await harness.ingest(ret())
    assert await harness.opt_out()
    assert await harness.columns("state", "registered", "code", "may_send") == (
        "not_needed",
        "NONE",
        "H175",
        False,
    )
    assert await harness.outcomes() == ["not_needed"]


async def test_movements_of_a_key_are_a_second_apart(harness: SinkHarness):
    """İYS's clock has whole seconds, and cannot order two movements within one."""
    scheduler = harness.scheduler
    await harness.ingest_opt_out()
    assert not await scheduler.opt_out()
    harness.advance(A_SECOND)
    assert await scheduler.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_refused_opt_out_is_rescued_once_and_then_parked(harness: SinkHarness):
    """Whatever İYS finds wrong with an opt-out, it does not end there."""
    await harness.ingest_opt_out()
    harness.iys.inject_fault("addV2", status=422, code="H113", times=2)
    assert await harness.opt_out()
    assert await harness.columns("state", "action", "code") == ("refused", "rescue", "H113")
    assert harness.unforeseen == ["H113"]
    await harness.ingest(*await harness.published())
    assert await harness.opt_out()
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
    while await harness.opt_out():
        pass
    assert harness.iys.register() == {people[7]: "RET"}
    states = await harness.states_of(people)
    assert (states.pop(7), set(states)) == ("accepted", {"not_needed"})
    assert (harness.iys.calls("statuses"), harness.iys.calls("addV2")) == (1, 1)


async def test_opt_outs_whose_query_is_refused_are_submitted(harness: SinkHarness):
    """Where nothing is allowed at all, the brand is suspended after one query and one try."""
    await harness.ingest_for(ret, range(30))
    harness.iys.inject_fault("statuses", status=403, code="H353", times=2)
    assert await harness.opt_out()
    assert harness.iys.calls("addV2") == 1
    harness.iys.inject_fault("addV2", status=403, code="H521")
    assert await harness.opt_out()
    (suspension,) = await harness.suspensions()
    assert (suspension.code, suspension.scope) == ("H521", "provider")
    assert not await harness.opt_out()
    assert harness.iys.calls("statuses") == harness.iys.calls("addV2") == 2


async def test_queries_wait_while_iys_refuses_the_account(harness: SinkHarness):
    """Each refusal counts against the address: one query an interval, none while suspended."""
    await harness.ingest(onay())
    await harness.ledger.fetch("UPDATE consents SET action = 'query' RETURNING key")
    harness.iys.inject_fault("status", status=403, code="H521", times=2)
    assert await harness.query()
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
    assert await harness.columns("state", "desired_status", "onay_open") == ("pending", "RET", True)
    assert await harness.opt_out()
    # İYS has not saved the opt-in yet, so it knows no record to withdraw: that is not final.
    assert await harness.columns("state", "action", "code") == ("retryable", "wait", "H175")
    assert not await harness.opt_out()
    assert await harness.settle()
    assert (await harness.row()).registered == "ONAY"
    assert await harness.opt_out()
    assert await harness.columns("state", "registered", "may_send") == ("accepted", "RET", False)
    assert harness.iys.register() == {PHONE: "RET"}


async def test_bad_item_costs_a_batch_only_itself(harness: SinkHarness):
    """A 422 names an item: it is refused, and the others are submitted at once."""
    late, others = onay(a_phone(2), minutes=60 * 24 * 30), [a_phone(number) for number in (0, 1, 3)]
    harness.close_days(40, ago=35)  # by a calendar that İYS does not have
    await harness.ingest(onay(others[0]), onay(others[1]), late, onay(others[2]))
    assert await harness.bulk()
    assert harness.iys.calls("batchV2") == 2
    assert await harness.columns("state", "code", recipient=late.recipient) == ("expired", "H467")
    assert await harness.settle()
    assert set(await harness.states_of(others)) == {"accepted"}
    assert late.recipient not in harness.iys.register()


async def test_expired_opt_in_is_not_submitted(harness: SinkHarness):
    """A consent is void three business days after it was given."""
    await harness.ingest(onay(minutes=60 * 24 * 30))
    assert (await harness.row()).state == "expired"
    assert not await harness.bulk()
    assert await harness.outcomes() == ["expired"]
    assert harness.iys.calls("batchV2") == 0


async def test_opt_in_in_its_last_hour_goes_by_single_add(harness: SinkHarness):
    """The result of a batch would come too late."""
    await harness.ingest(onay())
    await harness.ledger.fetch(
        "UPDATE consents SET expires_at = now() + interval '30 minutes' RETURNING key"
    )
    assert await harness.scheduler.last_hour()
    assert (await harness.row()).state == "accepted"
    assert harness.iys.calls("addV2") == 1


async def test_opt_in_whose_term_ends_expires(harness: SinkHarness):
    """It could not be submitted in time, and its outcome is published."""
    await harness.ingest(onay())
    harness.advance(timedelta(days=20))
    assert await harness.scheduler.expire()
    assert not await harness.scheduler.expire()
    assert (await harness.row()).state == "expired"
    assert await harness.outcomes() == ["expired"]


async def test_spent_quota_suspends_opt_ins_and_no_opt_out(harness: SinkHarness):
    """H525: opt-ins wait behind one suspension with its reason."""
    await harness.register_onay(a_phone(11))
    harness.iys.brand(consentLimit=1)
    await harness.ingest(onay(), onay(a_phone(2)))
    assert await harness.bulk()
    assert await harness.columns("state", "reason", "code") == ("parked", "quota-spent", "H525")
    (suspension,) = await harness.suspensions()
    assert (suspension.channel, suspension.status, suspension.code) == ("*", "ONAY", "H525")
    await harness.ingest(onay(a_phone(3)))
    assert not await harness.bulk()
    await harness.ingest(ret(a_phone(11)))
    assert await harness.opt_out()
    assert harness.iys.register()[a_phone(11)] == "RET"
    await harness.requeue("quota-spent")
    assert (await harness.row()).state == "pending"
    assert await harness.suspensions() == ()


async def test_requeue_leaves_suspensions(harness: SinkHarness):
    """A closed subscription stays suspended, whatever a person has looked at meanwhile."""
    await harness.refuse_opt_out(403, "H521")
    await harness.requeue("reconsent")
    assert [one.code for one in await harness.suspensions()] == ["H521"]


async def test_lost_right_suspends_a_channel_and_is_retried(harness: SinkHarness):
    """Records wait; when a retry succeeds, the suspension ends."""
    await harness.refuse_opt_out(403, "H353")
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
    await harness.ingest(ret(consent_date=datetime(2025, 12, 1, tzinfo=UTC)))
    assert await harness.opt_out()
    if (await harness.row()).state == "unknown":
        assert await harness.query()
    row = await harness.row()
    assert (row.state, row.action) == ("refused", "rescue")
    (event,) = await harness.published()
    assert (event.status, event.source, event.cause) == (
        "RET",
        "HS_KARAR",
        row.desired_event_id,
    )
    await harness.ingest(event)
    assert await harness.opt_out()
    assert (await harness.row()).state == "accepted"
    assert harness.iys.register() == {PHONE: "RET"}
