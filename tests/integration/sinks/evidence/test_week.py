"""The figures of a customer's week."""

from datetime import timedelta

import pytest

from izin.sinks.ledger.history.reports import figures
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, onay

pytestmark = pytest.mark.database


async def test_week_counts_what_was_received_registered_and_refused(harness: SinkHarness) -> None:
    """İYS saves an opt-in and its opt-out, and refuses another opt-in for its recipient."""
    begin = harness.clock() - timedelta(days=7)
    await harness.ingest_opt_out(onay("+905550000002"))
    assert await harness.opt_out()
    harness.iys.inject_fault("batchV2", status=422, code="H121")
    assert await harness.bulk()
    until = harness.clock() + timedelta(minutes=1)
    (one,) = await figures(harness.ledger, since=begin, until=until, customer_id=ACTIVE.customer_id)
    assert (one.received, one.registered, one.opt_outs_registered) == (3, 2, 1)
    assert one.refused == {"H121": 1}
    assert (one.opt_outs, one.breaches, one.keys) == (1, 0, 2)
    assert one.requests >= 3
    assert one.p50 is not None
    assert one.p95 is not None
    assert one.p50 <= one.p95
    assert await figures(harness.ledger, since=begin, until=until, customer_id="beta") == []
