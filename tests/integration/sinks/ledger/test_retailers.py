"""Retailers of a consent: submitted with it, or parked with a remedy, never dropped."""

import pytest

from izin.sinks.ledger import reads, retailers
from tests.integration.sinks.sink_harness import A_SECOND, SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database
ONE, OTHER = 10_000_001, 10_000_002


async def differences(harness: SinkHarness) -> list[tuple[object, object]]:
    """Return the registered and the desired retailers, where they differ."""
    found = await retailers.differences(harness.ledger, BRAND)
    return [(one.registered_access, one.desired_access) for one in found]


async def register(harness: SinkHarness, *access: int) -> None:
    """Register an opt-in with these retailers at İYS."""
    harness.iys.brand(retailers=[ONE, OTHER])
    await harness.register(onay(minutes=60, retailer_access=access or None))


async def test_retailers_registered_with_consent_are_no_difference(harness: SinkHarness):
    """İYS saved them with the consent."""
    await register(harness, ONE)
    assert await differences(harness) == []
    await harness.ingest(onay(minutes=30, retailer_access=(ONE,)))
    assert (await harness.row()).state == "not_needed"
    assert await differences(harness) == []


async def test_changed_retailers_of_registered_consent_are_parked(harness: SinkHarness):
    """The consent is settled, its retailers wait until a person requeues them."""
    await register(harness, ONE)
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
    act = [one for one in facts if one.kind == "act"][-1]
    assert act.data["before"]["retailer_access"] == [ONE]
    assert (act.data["after"]["retailer_access"], act.data["by"]) == ([ONE, OTHER], "ada")


async def test_retailers_of_consent_of_other_writer_are_a_difference(harness: SinkHarness):
    """None was submitted by us, so the retailer of the event is a difference."""
    await register(harness)
    await harness.ingest(onay(minutes=30, retailer_code=ONE))
    (found,) = await retailers.differences(harness.ledger, BRAND)
    assert (found.registered_code, found.desired_code, found.desired_access) == (None, ONE, None)


async def test_event_with_registered_retailers_ends_the_difference(harness: SinkHarness):
    """Nothing is left for a person."""
    await register(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER,)))
    await harness.ingest(onay(minutes=20, retailer_access=(ONE,)))
    assert await differences(harness) == []


async def test_opt_out_ends_the_difference_of_retailers(harness: SinkHarness):
    """A later consent carries its own retailers."""
    await register(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER,)))
    await harness.ingest(ret(minutes=20))
    assert await harness.opt_out()
    assert await differences(harness) == []
    await harness.register(onay(minutes=10, retailer_access=(OTHER,)))
    assert await differences(harness) == []


async def test_event_without_retailers_is_no_difference(harness: SinkHarness):
    """What İYS holds stays as it is."""
    await register(harness, ONE)
    await harness.ingest(onay(minutes=30), onay(a_phone(2), minutes=30))
    assert await differences(harness) == []


async def published(harness: SinkHarness, recipient: str = PHONE) -> list[tuple[str, str | None]]:
    """Return the reason and the retailers of a recipient's permissions in the outbox, in order."""
    found = await harness.outbox("%permissions", "Permission")
    return [(one["reason"], one["retailers"]) for one in found if one["recipient"] == recipient]


REGISTERED = f"{ONE},{OTHER}"


async def test_permission_has_the_retailers_that_iys_holds(harness: SinkHarness):
    """The one that collected the consent and those with access; none before, none after."""
    harness.iys.brand(retailers=[ONE, OTHER])
    await harness.register(onay(minutes=60, retailer_code=OTHER, retailer_access=(OTHER, ONE)))
    assert await published(harness) == [("awaiting-iys", None), ("registered", REGISTERED)]
    await harness.ingest(ret(minutes=20))
    assert await harness.opt_out()
    assert (await published(harness))[2:] == [("opted-out", None)]


async def test_desired_retailers_are_published_once_a_person_settles_them(harness: SinkHarness):
    """Nothing is published for what is merely desired; then the list alone, with the answer."""
    await register(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER, ONE)))
    assert (await published(harness))[1:] == [("registered", f"{ONE}")]
    assert await harness.requeue(retailers.DIFFERENCE) == 1
    assert (await published(harness))[2:] == [("registered", REGISTERED)]
    before, last = (await harness.outbox("%permissions", "Permission"))[-2:]
    assert (last["may_send"], last["previous_may_send"]) == (True, True)
    assert last["since"] == before["since"]
    assert await harness.requeue(retailers.DIFFERENCE) == 0
    assert len(await published(harness)) == 3


async def test_permission_in_bulk_has_no_retailers(harness: SinkHarness):
    """Consents of a batch without retailers are settled in bulk, beside one with some."""
    harness.iys.brand(retailers=[ONE])
    others = [onay(a_phone(number), minutes=60) for number in range(2, 6)]
    await harness.register(onay(minutes=60, retailer_access=(ONE,)), *others)
    assert (await published(harness))[-1] == ("registered", f"{ONE}")
    for one in others:
        assert (await published(harness, one.recipient))[-1] == ("registered", None)


async def test_consent_given_anew_begins_without_retailers(harness: SinkHarness):
    """Both movements come in one page of a pull: İYS does not hold the former access any more."""
    await register(harness, ONE)
    harness.iys.citizen("RET")
    harness.advance(A_SECOND)
    harness.iys.citizen("ONAY")
    await harness.pull()
    assert (await harness.row()).registered == "ONAY"
    assert (await published(harness))[-1] == ("registered", None)
    assert await harness.ledger.fetch("SELECT FROM retailer_access") == []


async def test_brand_ruled_again_publishes_no_retailers_anew(harness: SinkHarness):
    """A permission is published when answer, reason or retailers change, never otherwise."""
    await register(harness, ONE)
    count = len(await published(harness))
    await harness.brand()
    assert len(await published(harness)) == count
