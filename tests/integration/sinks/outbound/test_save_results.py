"""The receipt of an earlier save does not show what is registered now."""

from datetime import timedelta

import pytest

from tests.integration.sinks.sink_harness import SinkHarness, given_at, onay
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_original_success_of_repeated_batch_permits_nothing(
    harness: SinkHarness,
):
    """An earlier ledger submitted this very opt-in, and the citizen has opted out since."""
    harness.close_days(12)
    event = onay(minutes=60)
    await harness.register_onay()
    harness.iys.citizen("RET")
    # A new ledger, into which the same is read again.
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


async def test_original_success_of_single_add_permits_nothing(harness: SinkHarness):
    """The receipt is old, and the citizen has opted out since."""
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


async def test_original_success_permits_nothing_before_a_query(harness: SinkHarness):
    """İYS saved this before; whether that is still registered is not known."""
    event = onay(minutes=60)
    await harness.register_onay()
    harness.iys.citizen("RET")
    await harness.forget()
    await harness.ingest(event)
    assert await harness.bulk()
    assert await harness.settle()
    columns = await harness.columns("action", "reason", "may_send")
    assert columns == ("query", "saved-before", False)
    assert await harness.permissions() == [False]
