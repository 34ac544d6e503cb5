"""What is owed reaches İYS once, whatever happens to the call, and the ledger ends as İYS does."""

from datetime import timedelta

import pytest

from tests.builders import PHONE
from tests.integration.sinks.house import House, a_phone, onay, ret

pytestmark = pytest.mark.database


async def test_an_onay_goes_by_batch_and_opens_the_gate_only_when_it_is_saved(house: House):
    """A 202 is not "saved": the permission turns to yes with the result, not before."""
    await house.ingest(onay(PHONE))
    assert await house.submitter.bulk()
    assert (await house.entry()).state == "awaiting_result"
    assert await house.permissions(PHONE) == [False]
    house.twin.results_are_due()
    assert await house.settler.settle()
    entry = await house.entry()
    assert (entry.state, entry.registered, entry.may_send) == ("accepted", "ONAY", True)
    assert await house.permissions(PHONE) == [False, True]
    assert await house.outcomes() == ["accepted"]
    assert house.twin.register() == {PHONE: "ONAY"}


async def test_a_result_that_is_not_there_yet_is_asked_for_again(house: House):
    """An empty list and "enqueue" say nothing of an item."""
    await house.ingest(onay(PHONE))
    await house.submitter.bulk()
    assert await house.settler.settle()
    assert (await house.entry()).state == "awaiting_result"


async def test_a_ret_goes_at_once_by_single_add(house: House):
    """An opt-out of a registered ONAY is told and answered in one step."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    assert (await house.entry()).may_send is False
    assert await house.submitter.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.registered) == ("accepted", "RET")
    assert house.twin.register() == {PHONE: "RET"}


async def test_a_ret_that_iys_never_knew_is_not_needed(house: House):
    """H175: there is nothing to withdraw, and the local "no" stands."""
    await house.ingest(ret(PHONE))
    assert await house.submitter.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.registered, entry.code) == ("not_needed", "NONE", "H175")
    assert entry.may_send is False
    assert await house.outcomes() == ["not_needed"]


async def test_many_rets_of_unknown_keys_are_asked_about_first(house: House):
    """Thirty opt-outs cost one question, and only what İYS holds is told."""
    people = [a_phone(number) for number in range(30)]
    house.twin.citizen("ONAY", people[7], source="IYS_WEB_YENI", consentDate="2026-01-05 10:00:00")
    await house.ingest(*(ret(person) for person in people))
    while await house.submitter.opt_out():
        pass
    assert house.twin.register() == {people[7]: "RET"}
    states = {(await house.entry(person)).state for person in people if person != people[7]}
    assert states == {"not_needed"}
    assert (await house.entry(people[7])).state == "accepted"
    assert house.twin.calls("statuses") == 1
    assert house.twin.calls("addV2") == 1


async def test_a_ret_overtakes_an_onay_whose_result_is_awaited(house: House):
    """The "no" is told at once; when the ONAY settles, the key is ruled again and ends as RET."""
    await house.ingest(onay(PHONE, minutes=10))
    await house.submitter.bulk()
    await house.ingest(ret(PHONE, minutes=5))
    entry = await house.entry()
    assert (entry.state, entry.desired_status, entry.onay_open) == ("pending", "RET", True)
    assert await house.submitter.opt_out()
    entry = await house.entry()
    # İYS has not saved the ONAY yet, so it knows no record to withdraw: that is no last word.
    assert (entry.state, entry.code, entry.onay_open) == ("retryable", "H175", True)
    house.twin.results_are_due()
    assert await house.settler.settle()
    entry = await house.entry()
    assert (entry.state, entry.duty, entry.registered) == ("retryable", "send", "ONAY")
    later = house.recoverer(timedelta(minutes=5)).tools
    submitter = house.submitter
    assert await type(submitter)(
        tools=later, teller=house.teller, asker=house.asker, batch_size=1000
    ).opt_out()
    entry = await house.entry()
    assert (entry.state, entry.registered, entry.may_send) == ("accepted", "RET", False)
    assert house.twin.register() == {PHONE: "RET"}


async def test_one_bad_record_costs_a_batch_only_itself(house: House):
    """A 422 names an item: it is refused, and the others are told at once."""
    people = [a_phone(number) for number in range(5)]
    late = onay(people[2], minutes=60 * 24 * 30)
    await house.brand_in_loading()
    await house.ingest(late, *(onay(one) for one in people if one != people[2]))
    assert await house.submitter.bulk()
    assert house.twin.calls("batchV2") == 2
    refused = await house.entry(people[2])
    assert (refused.state, refused.code) == ("expired", "H467")
    house.twin.results_are_due()
    assert await house.settler.settle()
    assert {(await house.entry(one)).state for one in people if one != people[2]} == {"accepted"}
    assert people[2] not in house.twin.register()


async def test_an_onay_whose_term_has_ended_is_never_told(house: House):
    """Three business days after it was given, a consent is void: it expires without a call."""
    await house.ingest(onay(PHONE, minutes=60 * 24 * 30))
    entry = await house.entry()
    assert entry.state == "expired"
    assert not await house.submitter.bulk()
    assert await house.outcomes() == ["expired"]
    assert house.twin.calls("batchV2") == 0
