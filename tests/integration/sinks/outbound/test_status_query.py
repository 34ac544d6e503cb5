"""Of a question that İYS refuses, the recipient at fault is found and all others are answered."""

from collections.abc import Sequence

import pytest

from izin.consent.obligation import Action
from izin.sinks.outbound.status_query import SINGLES
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret

pytestmark = pytest.mark.database

PEOPLE = [a_phone(number) for number in range(SINGLES + 10)]
FAULTY = "+90555"
"""No phone number at all, for İYS; it stands in the ledger as if a newer rule had come."""
UNNAMED = "Ada@example.com"
"""No phone number either, and İYS names it in lower case: nobody whom the ledger knows."""


async def faulty(harness: SinkHarness, recipient: str, as_told: str = FAULTY) -> None:
    """Have İYS find a recipient wrong."""
    await harness.ledger.fetch(
        "UPDATE consents SET recipient = %(faulty)s WHERE recipient = %(recipient)s RETURNING key",
        {"faulty": as_told, "recipient": recipient},
    )


async def to_query(harness: SinkHarness, people: Sequence[str] = PEOPLE) -> None:
    """Have consents at İYS, each of which İYS is to be asked about."""
    for person in people:
        harness.iys.citizen("ONAY", person, source="IYS_WEB_YENI")
    await harness.ingest(*(onay(person) for person in people))
    for state, action in (("in_flight", "send"), ("unknown", "query")):
        await harness.set_columns(state=state, action=action, attempts=1)


@pytest.mark.parametrize("place", [0, 13, len(PEOPLE) - 1])
@pytest.mark.parametrize("recipient", [FAULTY, UNNAMED])
async def test_one_bad_recipient_costs_itself_alone(
    harness: SinkHarness, place: int, recipient: str
):
    """It waits for a person with İYS's code; all others are answered in the same step."""
    await to_query(harness)
    await faulty(harness, PEOPLE[place], recipient)
    assert await harness.query()
    found = await harness.states_of(PEOPLE)
    assert (found.pop(place), set(found)) == ("parked", {"accepted"})
    row = await harness.row(PEOPLE[place])
    assert (row.reason, row.code) == ("question-refused", "H121")
    assert not await harness.query()
    await harness.requeue(row.reason)
    assert (await harness.row(PEOPLE[place])).state == "pending"


async def test_a_refusal_that_names_nobody_is_halved(harness: SinkHarness):
    """Each half is asked about, and all are answered."""
    await to_query(harness)
    harness.iys.inject_fault("statuses", status=422, code="H464")
    assert await harness.query()
    assert set(await harness.states_of(PEOPLE)) == {"accepted"}
    assert harness.iys.calls("statuses") == 3


async def test_a_question_that_is_refused_whoever_is_asked_about_is_given_up(harness: SinkHarness):
    """Each refusal counts against our address: after two alone the rest waits, and nobody is
    parked for it.
    """
    await to_query(harness)
    harness.iys.inject_fault("statuses", status=422, code="H117", times=1000)
    assert await harness.query()
    assert harness.iys.calls("statuses") < SINGLES
    assert harness.iys.calls("status") == 2
    assert sorted(set(await harness.states_of(PEOPLE))) == ["accepted", "unknown"]
    assert not await harness.query()


async def test_few_are_asked_one_by_one_and_a_bad_one_stops_no_other(harness: SinkHarness):
    """The others of it do not wait until nobody holds them any more."""
    people = PEOPLE[:3]
    await to_query(harness, people)
    await faulty(harness, people[0])
    assert await harness.query()
    assert await harness.states_of(people) == ["parked", "accepted", "accepted"]


async def test_an_opt_out_that_may_not_be_asked_about_holds_up_no_other(harness: SinkHarness):
    """The others are answered; it is told unasked, and İYS's answer says what follows."""
    await harness.ingest(*(ret(person) for person in PEOPLE))
    await faulty(harness, PEOPLE[3])
    while await harness.opt_out():
        pass
    found = await harness.states_of(PEOPLE)
    assert (found.pop(3), set(found)) == ("refused", {"not_needed"})
    assert (await harness.row(PEOPLE[3])).action is Action.RESCUE
    assert harness.iys.calls("addV2") == 1
