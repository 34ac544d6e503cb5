"""A "no" that İYS does not take as it stands is saved by another: whatever the clocks say."""

from datetime import timedelta

import pytest

from izin.consent.obligation import Action
from tests.integration.sinks.sink_harness import A_SECOND, SinkHarness, ret
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_an_opt_out_that_is_rescued_in_its_own_second_reaches_iys(harness: SinkHarness):
    """The sink decides within the second in which the opt-out was given."""
    await harness.register_onay()
    harness.start_second()
    at = harness.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        source="HS_OUR_SHOP",  # no source of İYS's: registrable it is not, but it is a no
        consent_date=at,
        received_at=at,
    )
    await harness.ingest(bad)
    assert (await harness.row()).action == Action.RESCUE
    await harness.ingest_each(await harness.published())
    await harness.run(
        harness.opt_out, harness.query, harness.recover_now, times=10, every=timedelta(minutes=10)
    )
    assert harness.iys.register() == {PHONE: "RET"}


async def test_an_opt_out_that_iys_refuses_in_its_own_second_reaches_iys(harness: SinkHarness):
    """The same behind a refusal of İYS's, where the row is in no state that rings."""
    await harness.register_onay()
    harness.advance(A_SECOND * 2)
    scheduler = harness.scheduler
    harness.start_second()
    at = harness.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        retailer_code=12345678,
        consent_date=at,
        received_at=at,
    )
    await harness.ingest(bad)
    assert await scheduler.opt_out()
    assert await harness.columns("state", "action", "code") == ("refused", "rescue", "H180")
    await harness.ingest_each(await harness.published())
    await harness.run(
        harness.opt_out, harness.query, harness.recover_now, times=10, every=timedelta(hours=12)
    )
    assert harness.iys.register() == {PHONE: "RET"}


async def test_an_opt_out_that_is_rescued_by_a_clock_that_is_behind_reaches_iys(
    harness: SinkHarness,
):
    """The intake's clock is two seconds ahead of the sink's: honest clocks differ."""
    await harness.register_onay()
    at = harness.clock() + A_SECOND * 2
    await harness.ingest(ret(source="HS_OUR_SHOP", consent_date=at, received_at=at))
    assert (await harness.row()).action is Action.RESCUE
    harness.advance(A_SECOND * 5)
    await harness.ingest_each(await harness.published())
    await harness.run(harness.opt_out, harness.query, times=10, every=timedelta(minutes=10))
    assert harness.iys.register() == {PHONE: "RET"}


async def test_an_opt_out_that_waits_for_its_rescue_rings(harness: SinkHarness):
    """The event is on its way for five days."""
    await harness.refuse_opt_out(422, "H113")
    assert await harness.columns("state", "action") == ("refused", "rescue")
    harness.advance(timedelta(days=10))
    assert await harness.monitor.look()
