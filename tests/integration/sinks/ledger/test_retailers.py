"""Which retailers may use a consent: told with it, or parked with a cure; never dropped."""

import pytest

from izin.sinks.ledger import brands, reads, retailers
from tests.integration.sinks.sink_harness import House, a_phone, onay, ret
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database
ONE, OTHER = 10_000_001, 10_000_002


async def differences(house: House) -> list[tuple[object, object]]:
    """Return which retailers İYS was told of, and which it should hold, where they differ."""
    found = await retailers.differences(house.ledger, BRAND)
    return [(one.registered_access, one.desired_access) for one in found]


async def told(house: House, *access: int) -> None:
    """Have an ONAY of the recipient with these retailers registered at İYS."""
    house.twin.order(
        "brands",
        brandCode=BRAND,
        iysCode=BRAND,
        name="Örnek",
        activatedAt="2020-01-01 00:00:00",
        retailers=[ONE, OTHER],
    )
    await house.ingest(onay(PHONE, minutes=60, retailer_access=access or None))
    assert await house.scheduler.bulk()
    house.results_are_due()
    assert await house.poller.settle()
    assert (await house.entry()).state == "accepted"


async def test_retailers_go_along_with_a_consent_and_differ_from_nothing(house: House):
    """What İYS took, it took with its retailers."""
    await told(house, ONE)
    assert await differences(house) == []
    await house.ingest(onay(PHONE, minutes=30, retailer_access=(ONE,)))
    assert (await house.entry()).state == "not_needed"
    assert await differences(house) == []


async def test_other_retailers_of_a_consent_that_iys_holds_wait_for_a_person(house: House):
    """The consent is settled, its retailers are not: parked with a cure until a person acts."""
    await told(house, ONE)
    await house.ingest(onay(PHONE, minutes=30, retailer_access=(OTHER, ONE)))
    entry = await house.entry()
    assert (entry.state, entry.may_send) == ("not_needed", True)
    assert not await house.scheduler.bulk()
    assert await differences(house) == [([ONE], [ONE, OTHER])]
    (parked,) = await reads.parked(house.ledger)
    assert (parked.reason, parked.keys) == (retailers.DIFFERENCE, 1)
    assert (await reads.lag(house.ledger, now=house.clock())).parked == 1
    requeued = await brands.requeue(
        house.ledger,
        house.tools.topic_messages,
        BRAND,
        by="ada",
        now=house.clock(),
        reason=retailers.DIFFERENCE,
    )
    assert requeued == 1
    assert await differences(house) == []
    assert await reads.parked(house.ledger) == ()
    facts = (await reads.history(house.ledger, PHONE)).facts
    (act,) = [one for one in facts if one.kind == "act"]
    assert act.data["retailer_access"] == [ONE, OTHER]
    assert act.data["by"] == "ada"


async def test_retailers_of_a_consent_that_somebody_else_wrote_wait_too(house: House):
    """İYS was never told of any by us, so what the statement names is a difference."""
    await told(house)
    await house.ingest(onay(PHONE, minutes=30, retailer_code=ONE))
    (found,) = await retailers.differences(house.ledger, BRAND)
    assert (found.registered_code, found.desired_code, found.desired_access) == (None, ONE, None)


async def test_a_newer_statement_of_what_iys_holds_ends_the_difference(house: House):
    """Back to the retailers İYS was told of: nothing is left for a person."""
    await told(house, ONE)
    await house.ingest(onay(PHONE, minutes=30, retailer_access=(OTHER,)))
    await house.ingest(onay(PHONE, minutes=20, retailer_access=(ONE,)))
    assert await differences(house) == []


async def test_an_opt_out_ends_what_retailers_may_do(house: House):
    """Where no consent is, nobody may use it; a consent given anew carries its own retailers."""
    await told(house, ONE)
    await house.ingest(onay(PHONE, minutes=30, retailer_access=(OTHER,)))
    await house.ingest(ret(PHONE, minutes=20))
    assert await house.scheduler.opt_out()
    assert await differences(house) == []
    await house.ingest(onay(PHONE, minutes=10, retailer_access=(OTHER,)))
    assert await house.scheduler.bulk()
    house.results_are_due()
    assert await house.poller.settle()
    assert (await house.entry()).state == "accepted"
    assert await differences(house) == []


async def test_a_statement_without_retailers_says_nothing_of_them(house: House):
    """What İYS holds stays as it is."""
    await told(house, ONE)
    await house.ingest(onay(PHONE, minutes=30), onay(a_phone(2), minutes=30))
    assert await differences(house) == []
