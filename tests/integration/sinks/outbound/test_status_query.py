"""Of a query that İYS refuses, the bad recipient is found and all others are answered."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest

from izin.consent.next_action import Action
from izin.sinks.outbound.queries.status_query import SINGLES
from izin.sinks.record.consent_row import READ_BACK, is_read_back
from tests.integration.sinks.sink_harness import OTHER, TOPIC, SinkHarness, a_phone, onay, ret

pytestmark = pytest.mark.database

PEOPLE = [a_phone(number) for number in range(SINGLES + 10)]
BAD = "+90555"
"""No phone number for İYS; it is in the ledger as if İYS had a newer rule."""
UNNAMED = "Ada@example.com"
"""No phone number either, and İYS names it in lower case: no recipient of the ledger."""


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
    harness.iys.inject_fault("statuses", status=422, code="H464")
    assert await harness.query()
    assert set(await harness.states_of(PEOPLE)) == {"accepted"}
    assert harness.iys.calls("statuses") == 3


async def test_query_refused_for_every_recipient_is_given_up(harness: SinkHarness):
    """Each refusal counts against the address: after two single queries the rest waits, and
    nobody is parked for it.
    """
    await to_query(harness)
    harness.iys.inject_fault("statuses", status=422, code="H117", times=1000)
    assert await harness.query()
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
    while await harness.opt_out():
        pass
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
    await harness.ingest(ret())
    assert await harness.opt_out()
    await harness.set_columns(action="query", reason=READ_BACK)
    harness.iys.inject_fault("status", status=429, code="H086", times=None)
    assert await harness.query()
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
