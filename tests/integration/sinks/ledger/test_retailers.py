"""Which retailers may use a consent: told with it, or parked with a cure; never dropped."""

import pytest

from izin.sinks.ledger import reads, retailers
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database
ONE, OTHER = 10_000_001, 10_000_002


async def differences(harness: SinkHarness) -> list[tuple[object, object]]:
    """Return which retailers İYS was told of, and which it should hold, where they differ."""
    found = await retailers.differences(harness.ledger, BRAND)
    return [(one.registered_access, one.desired_access) for one in found]


async def told(harness: SinkHarness, *access: int) -> None:
    """Have an ONAY of the recipient with these retailers registered at İYS."""
    harness.iys.brand(retailers=[ONE, OTHER])
    await harness.register(onay(minutes=60, retailer_access=access or None))


async def test_retailers_go_along_with_a_consent_and_differ_from_nothing(harness: SinkHarness):
    """What İYS took, it took with its retailers."""
    await told(harness, ONE)
    assert await differences(harness) == []
    await harness.ingest(onay(minutes=30, retailer_access=(ONE,)))
    assert (await harness.row()).state == "not_needed"
    assert await differences(harness) == []


async def test_other_retailers_of_a_consent_that_iys_holds_wait_for_a_person(harness: SinkHarness):
    """The consent is settled, its retailers are not: parked with a cure until a person acts."""
    await told(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER, ONE)))
    assert await harness.columns("state", "may_send") == ("not_needed", True)
    assert not await harness.bulk()
    assert await differences(harness) == [([ONE], [ONE, OTHER])]
    (parked,) = await reads.parked(harness.ledger)
    assert (parked.reason, parked.keys) == (retailers.DIFFERENCE, 1)
    assert (await reads.lag(harness.ledger, now=harness.clock())).parked == 1
    assert await harness.requeue(retailers.DIFFERENCE) == 1
    assert await differences(harness) == []
    assert await reads.parked(harness.ledger) == ()
    facts = (await reads.history(harness.ledger, PHONE)).facts
    (act,) = [one for one in facts if one.kind == "act"]
    assert (act.data["retailer_access"], act.data["by"]) == ([ONE, OTHER], "ada")


async def test_retailers_of_a_consent_that_somebody_else_wrote_wait_too(harness: SinkHarness):
    """İYS was never told of any by us, so what the statement names is a difference."""
    await told(harness)
    await harness.ingest(onay(minutes=30, retailer_code=ONE))
    (found,) = await retailers.differences(harness.ledger, BRAND)
    assert (found.registered_code, found.desired_code, found.desired_access) == (None, ONE, None)


async def test_a_newer_statement_of_what_iys_holds_ends_the_difference(harness: SinkHarness):
    """Back to the retailers İYS was told of: nothing is left for a person."""
    await told(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER,)))
    await harness.ingest(onay(minutes=20, retailer_access=(ONE,)))
    assert await differences(harness) == []


async def test_an_opt_out_ends_what_retailers_may_do(harness: SinkHarness):
    """Where no consent is, nobody may use it; a consent given anew carries its own retailers."""
    await told(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER,)))
    await harness.ingest(ret(minutes=20))
    assert await harness.opt_out()
    assert await differences(harness) == []
    await harness.register(onay(minutes=10, retailer_access=(OTHER,)))
    assert await differences(harness) == []


async def test_a_statement_without_retailers_says_nothing_of_them(harness: SinkHarness):
    """What İYS holds stays as it is."""
    await told(harness, ONE)
    await harness.ingest(onay(minutes=30), onay(a_phone(2), minutes=30))
    assert await differences(harness) == []
