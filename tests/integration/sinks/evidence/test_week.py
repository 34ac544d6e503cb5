"""The figures of a customer's week."""

from datetime import timedelta

import pytest

from izin.sinks.ledger.history.week import figures
from tests.integration.sinks.sink_harness import ACTIVE, SinkHarness, onay
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


async def test_week_counts_what_was_received_registered_and_refused(harness: SinkHarness) -> None:
    """İYS saves an opt-in and its opt-out, and refuses another; a transient answer is no refusal."""
    begin = harness.clock() - timedelta(days=7)
    await harness.register_onay()
    await harness.ingest_opt_out(onay("+905550000002"))
    harness.iys.inject_fault("addV2", status=503)
    await harness.opt_out()
    harness.advance(timedelta(minutes=5))
    await harness.recover()
    assert await harness.opt_out() or harness.iys.register()[PHONE] == "RET"
    harness.iys.inject_fault("batchV2", status=422, code="H121", index=0)
    await harness.bulk()
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
