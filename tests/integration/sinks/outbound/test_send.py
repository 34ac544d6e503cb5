"""What is owed reaches İYS once, whatever happens to the call, and the ledger ends as İYS does."""

from datetime import UTC, datetime, timedelta

import pytest

from izin.schemas.records import event_from_avro
from izin.sinks.ledger import brands
from izin.sinks.ledger import suspensions as standing
from izin.sinks.record.suspension import EVERY
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    RESULT_DELAY,
    House,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database


async def test_an_onay_goes_by_batch_and_opens_the_gate_only_when_it_is_saved(house: House):
    """A 202 is not "saved": the permission turns to yes with the result, not before."""
    await house.ingest(onay(PHONE))
    assert await house.scheduler.bulk()
    assert (await house.entry()).state == "awaiting_result"
    assert await house.permissions(PHONE) == [False]
    house.results_are_due()
    assert await house.poller.settle()
    entry = await house.entry()
    assert (entry.state, entry.registered, entry.may_send) == ("accepted", "ONAY", True)
    assert await house.permissions(PHONE) == [False, True]
    assert await house.outcomes() == ["accepted"]
    assert house.twin.register() == {PHONE: "ONAY"}


async def test_a_result_that_is_not_there_yet_is_asked_for_again(house: House):
    """An empty list and "enqueue" say nothing of an item."""
    await house.ingest(onay(PHONE))
    await house.scheduler.bulk()
    house.passes(RESULT_DELAY, at_iys=False)
    assert await house.poller.settle()
    assert (await house.entry()).state == "awaiting_result"


async def test_a_ret_goes_at_once_by_single_add(house: House):
    """An opt-out of a registered ONAY is told and answered in one step."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    assert (await house.entry()).may_send is False
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.registered) == ("accepted", "RET")
    assert house.twin.register() == {PHONE: "RET"}


async def test_a_ret_that_iys_never_knew_is_not_needed(house: House):
    """H175: there is nothing to withdraw, and the local "no" stands."""
    await house.ingest(ret(PHONE))
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.registered, entry.code) == ("not_needed", "NONE", "H175")
    assert entry.may_send is False
    assert await house.outcomes() == ["not_needed"]


async def test_two_movements_of_a_key_lie_a_second_apart(house: House):
    """İYS's clock has whole seconds: what it saves in one of them it cannot tell apart."""
    scheduler = house.scheduler
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    assert not await scheduler.opt_out()
    house.passes(A_SECOND)
    assert await scheduler.opt_out()
    assert house.twin.register() == {PHONE: "RET"}


async def test_a_no_that_iys_refuses_is_told_anew_and_then_a_person_acts(house: House):
    """Whatever İYS finds wrong with an opt-out, it does not end there."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", status=422, code="H113", times=2)
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.action, entry.code) == ("refused", "rescue", "H113")
    assert house.unforeseen == ["H113"]
    (event,) = await house.published()
    await house.ingest(event_from_avro(event))
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.reason) == ("parked", "opt-out-refused")
    assert entry.may_send is False
    await brands.requeue(
        house.ledger,
        house.tools.topic_messages,
        BRAND,
        by="ada",
        now=house.clock(),
        reason="opt-out-refused",
    )
    assert await house.scheduler.opt_out()
    assert house.twin.register() == {PHONE: "RET"}


async def test_many_rets_of_unknown_keys_are_asked_about_first(house: House):
    """Thirty opt-outs cost one question, and only what İYS holds is told."""
    people = [a_phone(number) for number in range(30)]
    house.twin.citizen("ONAY", people[7], source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await house.ingest(*(ret(person) for person in people))
    while await house.scheduler.opt_out():
        pass
    assert house.twin.register() == {people[7]: "RET"}
    states = {(await house.entry(person)).state for person in people if person != people[7]}
    assert states == {"not_needed"}
    assert (await house.entry(people[7])).state == "accepted"
    assert house.twin.calls("statuses") == 1
    assert house.twin.calls("addV2") == 1


async def test_rets_that_may_not_be_asked_about_are_told_all_the_same(house: House):
    """Who may not ask may still withdraw; and where nothing may be done at all, a stop stands after
    one question and one try, whatever waits behind it.
    """
    people = [a_phone(number) for number in range(30)]
    await house.ingest(*(ret(person) for person in people))
    house.twin.weather("statuses", status=403, code="H353", times=2)
    assert await house.scheduler.opt_out()
    assert house.twin.calls("addV2") == 1
    house.twin.weather("addV2", status=403, code="H521")
    assert await house.scheduler.opt_out()
    (stop,) = await standing.stops(house.ledger)
    assert (stop.code, stop.scope) == ("H521", "provider")
    assert not await house.scheduler.opt_out()
    assert house.twin.calls("statuses") == house.twin.calls("addV2") == 2


async def test_what_is_to_be_asked_waits_while_iys_refuses_the_account(house: House):
    """Each refusal counts against our address: one question a turn, and none behind a stop."""
    await house.ingest(onay(PHONE))
    await house.ledger.fetch("UPDATE consents SET action = 'query' RETURNING key")
    house.twin.weather("status", status=403, code="H521", times=2)
    assert await house.querier.ask()
    house.passes(timedelta(minutes=14))
    assert not await house.querier.ask()
    house.passes(timedelta(minutes=1))
    assert await house.querier.ask()
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            account="ada",
            channel=EVERY,
            status=EVERY,
            code="H521",
            reason="closed",
            now=house.clock() + timedelta(minutes=15),
            scope="provider",
        )
    house.passes(timedelta(minutes=15))
    assert not await house.querier.ask()
    house.passes(timedelta(minutes=2))
    assert await house.querier.ask()
    assert house.twin.calls("status") == 3


async def test_a_ret_overtakes_an_onay_whose_result_is_awaited(house: House):
    """The "no" is told at once; when the ONAY settles, the key is ruled again and ends as RET."""
    await house.ingest(onay(PHONE, minutes=10))
    await house.scheduler.bulk()
    await house.ingest(ret(PHONE, minutes=5))
    entry = await house.entry()
    assert (entry.state, entry.desired_status, entry.onay_open) == ("pending", "RET", True)
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    # İYS has not saved the ONAY yet, so it knows no record to withdraw: that is no last word.
    assert (entry.state, entry.action, entry.code) == ("retryable", "wait", "H175")
    assert not await house.scheduler.opt_out()
    house.results_are_due()
    assert await house.poller.settle()
    assert (await house.entry()).registered == "ONAY"
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.registered, entry.may_send) == ("accepted", "RET", False)
    assert house.twin.register() == {PHONE: "RET"}


async def test_one_bad_record_costs_a_batch_only_itself(house: House):
    """A 422 names an item: it is refused, and the others are told at once."""
    people = [a_phone(number) for number in range(5)]
    late = onay(people[2], minutes=60 * 24 * 30)
    await house.brand_in_loading()
    await house.ingest(late, *(onay(one) for one in people if one != people[2]))
    assert await house.scheduler.bulk()
    assert house.twin.calls("batchV2") == 2
    refused = await house.entry(people[2])
    assert (refused.state, refused.code) == ("expired", "H467")
    house.results_are_due()
    assert await house.poller.settle()
    assert {(await house.entry(one)).state for one in people if one != people[2]} == {"accepted"}
    assert people[2] not in house.twin.register()


async def test_an_onay_whose_term_has_ended_is_never_told(house: House):
    """Three business days after it was given, a consent is void: it expires without a call."""
    await house.ingest(onay(PHONE, minutes=60 * 24 * 30))
    entry = await house.entry()
    assert entry.state == "expired"
    assert not await house.scheduler.bulk()
    assert await house.outcomes() == ["expired"]
    assert house.twin.calls("batchV2") == 0


async def test_an_onay_in_its_last_hour_goes_by_single_add(house: House):
    """The answer to a batch would come too late."""
    await house.ingest(onay(PHONE))
    await house.ledger.fetch(
        "UPDATE consents SET expires_at = now() + interval '30 minutes' RETURNING key"
    )
    assert await house.scheduler.last_hour()
    assert (await house.entry()).state == "accepted"
    assert house.twin.calls("addV2") == 1


async def test_an_onay_whose_term_ends_untold_expires(house: House):
    """It was on time once, and nobody could tell it: it is given up, and that is told."""
    await house.ingest(onay(PHONE))
    await house.ledger.fetch("UPDATE consents SET expires_at = now() RETURNING key")
    assert await house.scheduler.expire()
    assert not await house.scheduler.expire()
    assert (await house.entry()).state == "expired"
    assert await house.outcomes() == ["expired"]


async def test_a_spent_quota_stops_new_onays_and_no_opt_out(house: House):
    """H525: the records wait behind one stop with its reason, and a RET passes it."""
    await house.told_onay(a_phone(11))
    house.twin.order(
        "brands",
        brandCode=BRAND,
        iysCode=BRAND,
        name="Örnek",
        activatedAt="2020-01-01 00:00:00",
        consentLimit=1,
    )
    await house.ingest(onay(PHONE), onay(a_phone(2)))
    assert await house.scheduler.bulk()
    entry = await house.entry()
    assert (entry.state, entry.reason, entry.code) == ("parked", "quota-spent", "H525")
    (stop,) = await standing.stops(house.ledger)
    assert (stop.channel, stop.status, stop.code) == ("*", "ONAY", "H525")
    await house.ingest(onay(a_phone(3)))
    assert not await house.scheduler.bulk()
    await house.ingest(ret(a_phone(11)))
    assert await house.scheduler.opt_out()
    assert house.twin.register()[a_phone(11)] == "RET"
    await brands.requeue(
        house.ledger,
        house.tools.topic_messages,
        BRAND,
        by="ada",
        now=house.tools.clock(),
        reason="quota-spent",
    )
    assert (await house.entry()).state == "pending"
    assert await standing.stops(house.ledger) == ()


async def test_who_requeues_records_mends_nothing_at_iys(house: House):
    """A closed subscription stays a stop, whatever a person has looked at meanwhile."""
    await house.told_onay(PHONE)
    house.twin.weather("addV2", status=403, code="H521")
    await house.ingest(ret(PHONE))
    assert await house.scheduler.opt_out()
    await brands.requeue(
        house.ledger,
        house.tools.topic_messages,
        BRAND,
        by="ada",
        now=house.tools.clock(),
        reason="reconsent",
    )
    (stop,) = await standing.stops(house.ledger)
    assert stop.code == "H521"


async def test_a_lost_right_stops_a_channel_and_is_tried_again(house: House):
    """Records wait behind the stop; when a try passes, the stop is gone."""
    await house.told_onay(PHONE)
    house.twin.weather("addV2", status=403, code="H353")
    await house.ingest(ret(PHONE))
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.code) == ("retryable", "H353")
    (stop,) = await standing.stops(house.ledger)
    assert (stop.channel, stop.status) == ("MESAJ", "*")
    assert not await house.scheduler.opt_out()
    await house.ledger.fetch("UPDATE suspensions SET recheck_at = now() RETURNING brand_code")
    await house.ledger.fetch("UPDATE consents SET next_attempt_at = now() RETURNING key")
    assert await house.scheduler.opt_out()
    assert (await house.entry()).state == "accepted"
    assert await standing.stops(house.ledger) == ()


async def test_a_ret_that_iys_takes_for_old_is_rescued(house: House):
    """H178 while İYS shows ONAY: the old RET stays on record, and a new one of today follows."""
    house.twin.citizen("ONAY", PHONE, source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await house.ingest(ret(PHONE, consent_date=datetime(2025, 12, 1, tzinfo=UTC)))
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    if entry.state == "unknown":
        assert await house.querier.ask()
    entry = await house.entry()
    assert (entry.state, entry.action) == ("refused", "rescue")
    (event,) = await house.published()
    assert (event["status"], event["source"], event["cause"]) == (
        "RET",
        "HS_KARAR",
        entry.desired_event_id,
    )
    await house.ingest(event_from_avro(event))
    assert await house.scheduler.opt_out()
    assert (await house.entry()).state == "accepted"
    assert house.twin.register() == {PHONE: "RET"}
