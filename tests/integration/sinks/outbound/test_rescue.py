"""A "no" that İYS does not take as it stands is saved by another: whatever the clocks say."""

from datetime import timedelta

import pytest

from izin.consent.obligation import Action
from izin.schemas.records import event_from_avro
from izin.sinks.monitor.deadlines import DeadlineMonitor
from tests.integration.sinks.hearing import begins_a_second, decided
from tests.integration.sinks.sink_harness import A_SECOND, House, ret
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_an_opt_out_that_is_rescued_in_its_own_second_reaches_iys(house: House):
    """The sink decides within the second in which the opt-out was given."""
    await house.told_onay(PHONE)
    begins_a_second(house)
    at = house.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        source="HS_OUR_SHOP",  # no source of İYS's: registrable it is not, but it is a no
        consent_date=at,
        received_at=at,
    )
    await house.ingest(bad)
    entry = await house.entry()
    assert entry.action is Action.RESCUE
    await decided(house, [event_from_avro(one) for one in await house.published()])
    for _ in range(10):
        house.passes(timedelta(minutes=10))
        await house.scheduler.opt_out()
        await house.querier.ask()
        await house.recovery(timedelta(0)).recover()
    assert house.twin.register() == {PHONE: "RET"}


async def test_an_opt_out_that_iys_refuses_in_its_own_second_reaches_iys(house: House):
    """The same behind a refusal of İYS's, where the row is in no state that rings."""
    await house.told_onay(PHONE)
    house.passes(A_SECOND * 2)
    scheduler = house.scheduler
    begins_a_second(house)
    at = house.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        retailer_code=12345678,
        consent_date=at,
        received_at=at,
    )
    await house.ingest(bad)
    assert await scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.action, entry.code) == ("refused", "rescue", "H180")
    await decided(house, [event_from_avro(one) for one in await house.published()])
    for _ in range(10):
        house.passes(timedelta(hours=12))
        await house.scheduler.opt_out()
        await house.querier.ask()
        await house.recovery(timedelta(0)).recover()
    assert house.twin.register() == {PHONE: "RET"}


async def test_an_opt_out_that_is_rescued_by_a_clock_that_is_behind_reaches_iys(house: House):
    """The intake's clock is two seconds ahead of the sink's: honest clocks differ."""
    await house.told_onay(PHONE)
    at = house.clock() + A_SECOND * 2
    await house.ingest(ret(PHONE, source="HS_OUR_SHOP", consent_date=at, received_at=at))
    assert (await house.entry()).action is Action.RESCUE
    house.passes(A_SECOND * 5)
    await decided(house, [event_from_avro(one) for one in await house.published()])
    for _ in range(10):
        house.passes(timedelta(minutes=10))
        await house.scheduler.opt_out()
        await house.querier.ask()
    assert house.twin.register() == {PHONE: "RET"}


async def test_an_opt_out_that_waits_for_its_rescue_rings(house: House):
    """The event is on its way for five days."""
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", status=422, code="H113")
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    assert (entry.state, entry.action) == ("refused", "rescue")
    house.passes(timedelta(days=10))
    watch = DeadlineMonitor(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    assert await watch.look()
