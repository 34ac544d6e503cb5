"""Of a question that İYS refuses, the recipient at fault is found and all others are answered."""

from collections.abc import Sequence

import pytest

from izin.consent.obligation import Action
from izin.sinks.ledger import brands
from izin.sinks.outbound.status_query import SINGLES
from tests.integration.sinks.sink_harness import House, a_phone, onay, ret
from tests.support.builders import BRAND

pytestmark = pytest.mark.database

PEOPLE = [a_phone(number) for number in range(SINGLES + 10)]
FAULTY = "+90555"
"""No phone number at all, for İYS; it stands in the ledger as if a newer rule had come."""
UNNAMED = "Ada@example.com"
"""No phone number either, and İYS names it in lower case: nobody whom the ledger knows."""


async def faulty(house: House, recipient: str, as_told: str = FAULTY) -> None:
    """Have İYS find a recipient wrong."""
    await house.ledger.fetch(
        "UPDATE consents SET recipient = %(faulty)s WHERE recipient = %(recipient)s RETURNING key",
        {"faulty": as_told, "recipient": recipient},
    )


async def to_query(house: House, people: Sequence[str] = PEOPLE) -> None:
    """Have consents at İYS, each of which İYS is to be asked about."""
    for person in people:
        house.twin.citizen("ONAY", person, source="IYS_WEB_YENI")
    await house.ingest(*(onay(person) for person in people))
    for state, action in (("in_flight", "send"), ("unknown", "query")):
        await house.ledger.fetch(
            "UPDATE consents SET state = %(state)s, action = %(action)s, attempts = 1"
            " RETURNING key",
            {"state": state, "action": action},
        )


async def states(house: House) -> list[str]:
    """Return the states of everybody's consents."""
    return [(await house.entry(person)).state for person in PEOPLE]


@pytest.mark.parametrize("place", [0, 13, len(PEOPLE) - 1])
@pytest.mark.parametrize("recipient", [FAULTY, UNNAMED])
async def test_one_bad_recipient_costs_itself_alone(house: House, place: int, recipient: str):
    """It waits for a person with İYS's code; all others are answered in the same step."""
    await to_query(house)
    await faulty(house, PEOPLE[place], recipient)
    assert await house.querier.ask()
    found = await states(house)
    assert found.pop(place) == "parked"
    assert set(found) == {"accepted"}
    entry = await house.entry(PEOPLE[place])
    assert (entry.reason, entry.code) == ("question-refused", "H121")
    assert not await house.querier.ask()
    await brands.requeue(
        house.ledger,
        house.tools.topic_messages,
        BRAND,
        by="ada",
        now=house.clock(),
        reason=entry.reason,
    )
    assert (await house.entry(PEOPLE[place])).state == "pending"


async def test_a_refusal_that_names_nobody_is_halved(house: House):
    """Each half is asked about, and all are answered."""
    await to_query(house)
    house.twin.weather("statuses", status=422, code="H464")
    assert await house.querier.ask()
    assert set(await states(house)) == {"accepted"}
    assert house.twin.calls("statuses") == 3


async def test_a_question_that_is_refused_whoever_is_asked_about_is_given_up(house: House):
    """Each refusal counts against our address: after two alone the rest waits, and nobody is
    parked for it.
    """
    await to_query(house)
    house.twin.weather("statuses", status=422, code="H117", times=1000)
    assert await house.querier.ask()
    assert house.twin.calls("statuses") < SINGLES
    assert house.twin.calls("status") == 2
    assert sorted(set(await states(house))) == ["accepted", "unknown"]
    assert not await house.querier.ask()


async def test_few_are_asked_one_by_one_and_a_bad_one_stops_no_other(house: House):
    """The others of it do not wait until nobody holds them any more."""
    people = PEOPLE[:3]
    await to_query(house, people)
    await faulty(house, people[0])
    assert await house.querier.ask()
    found = [await house.entry(person) for person in people]
    assert [one.state for one in found] == ["parked", "accepted", "accepted"]


async def test_an_opt_out_that_may_not_be_asked_about_holds_up_no_other(house: House):
    """The others are answered; it is told unasked, and İYS's answer says what follows."""
    await house.ingest(*(ret(person) for person in PEOPLE))
    await faulty(house, PEOPLE[3])
    while await house.scheduler.opt_out():
        pass
    found = await states(house)
    assert found.pop(3) == "refused"
    assert set(found) == {"not_needed"}
    assert (await house.entry(PEOPLE[3])).action is Action.RESCUE
    assert house.twin.calls("addV2") == 1
