"""An opt-out that İYS does not accept as it is, is rescued by another, whatever the clocks show."""

from datetime import timedelta

import pytest

from izin.consent.next_action import Action
from tests.integration.sinks.sink_harness import A_SECOND, SinkHarness, ret
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_opt_out_rescued_in_its_own_second_reaches_iys(harness: SinkHarness):
    """The sink decides within the second in which the opt-out was given."""
    await harness.register_onay()
    harness.start_second()
    at = harness.clock()
    bad = ret(
        PHONE,
        event_id="ffffffff-0000-5000-8000-000000000001",
        source="HS_OUR_SHOP",  # no source of İYS's: not registrable, but an opt-out
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


async def test_opt_out_refused_in_its_own_second_reaches_iys(harness: SinkHarness):
    """The same after a refusal by İYS, where no alert covers the row."""
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


async def test_opt_out_dated_ahead_of_the_sink_reaches_iys(
    harness: SinkHarness,
):
    """The intake's clock is two seconds ahead of the sink's: correct clocks differ."""
    await harness.register_onay()
    at = harness.clock() + A_SECOND * 2
    await harness.ingest(ret(source="HS_OUR_SHOP", consent_date=at, received_at=at))
    assert (await harness.row()).action is Action.RESCUE
    harness.advance(A_SECOND * 5)
    await harness.ingest_each(await harness.published())
    await harness.run(harness.opt_out, harness.query, times=10, every=timedelta(minutes=10))
    assert harness.iys.register() == {PHONE: "RET"}


async def test_opt_out_that_waits_for_its_rescue_alerts(harness: SinkHarness):
    """The event was published days ago and has not come back."""
    await harness.refuse_opt_out(422, "H113")
    assert await harness.columns("state", "action") == ("refused", "rescue")
    harness.advance(timedelta(days=10))
    assert await harness.monitor.check()
