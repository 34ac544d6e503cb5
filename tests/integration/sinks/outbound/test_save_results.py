"""A receipt of an older save says nothing of what stands now."""

from datetime import timedelta

import pytest

from tests.integration.sinks.sink_harness import SinkHarness, given_at, onay
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_a_success_of_an_old_save_opens_nothing_though_the_batch_was_handed_in_twice(
    harness: SinkHarness,
):
    """Another writer (an earlier ledger) told this very ONAY; the citizen has said no since."""
    await harness.brand_in_loading()
    event = onay(minutes=60)
    await harness.register_onay()
    harness.iys.citizen("RET")
    # A new ledger that knows none of it: the brand is loaded anew.
    await harness.forget()
    harness.advance(timedelta(days=8))  # no pull shows it any more
    harness.iys.brand(activatedAt=None)
    await harness.ingest(event)
    await harness.lose_batch()
    assert await harness.recover()
    assert await harness.settle()
    await harness.run(harness.query, times=3, every=timedelta(minutes=5))
    assert harness.iys.register() == {PHONE: "RET"}
    assert await harness.columns("registered", "may_send") == ("RET", False)


async def test_a_single_add_that_iys_has_saved_before_opens_nothing(harness: SinkHarness):
    """The receipt is years old, in a manner: the citizen has said no since."""
    event = given_at(harness.clock() - timedelta(minutes=30))
    await harness.ingest(event)
    soon = harness.clock() + timedelta(minutes=50)
    await harness.set_columns(expires_at=soon)
    assert await harness.scheduler.last_hour()
    assert (await harness.row()).state == "accepted"
    harness.iys.citizen("RET")
    harness.advance(timedelta(minutes=20))
    await harness.forget()
    await harness.ingest(event)
    await harness.set_columns(expires_at=soon)
    assert await harness.scheduler.last_hour()
    await harness.run(harness.query, times=3, every=timedelta(minutes=1))
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


async def test_an_old_success_opens_nothing_before_it_is_read_back(harness: SinkHarness):
    """İYS says that it saved this before; until it is asked whether that stands, nothing opens."""
    event = onay(minutes=60)
    await harness.register_onay()
    harness.iys.citizen("RET")
    await harness.forget()
    await harness.ingest(event)
    assert await harness.bulk()
    assert await harness.settle()
    columns = await harness.columns("action", "reason", "may_send")
    assert columns == ("query", "told-before", False)
    assert await harness.permissions() == [False]
