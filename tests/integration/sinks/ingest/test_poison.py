"""What no database takes does not reach it, and stops nobody."""

import pytest

from izin.iys.wire_format.consents import Stream
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, given_at
from tests.support.builders import PHONE

pytestmark = pytest.mark.database

NUL = {
    "event_id": "a\0b",
    "customer_id": "ac\0me",
    "origin": "w\0eb",
    "origin_ref": "form\0 7",
    "actor": "\0",
    "correlation_id": "\0\0",
    "cause": "x\0",
    "import_id": "\0i",
    "notice_version": "1\0",
    "evidence": {"pa\0ge": "\0"},
    "evidence_hash": "\0",
}


@pytest.mark.parametrize("name", sorted(NUL))
@pytest.mark.parametrize("status", ["ONAY", "RET"])
async def test_nul_in_any_text_stops_no_customer(harness: SinkHarness, name: str, status: str):
    """The event counts, without it; those of others beside it are stored."""
    at = harness.clock()
    spoilt = given_at(at, **{"event_id": "spoilt", "status": status, name: NUL[name]})
    again = given_at(at, event_id="other", recipient=a_phone(7))
    await harness.ingest(spoilt, again)
    assert await harness.columns("desired_status") == (status,)
    assert await harness.columns("desired_status", recipient=a_phone(7)) == ("ONAY",)
    row = await harness.row()
    assert "\0" not in f"{row.desired_event_id}{row.customer_id}{row.desired_origin_ref}"
    later = given_at(at, **{"event_id": "later", "status": "RET", name: NUL[name]})
    await harness.ingest(later)
    assert await harness.columns("desired_status") == ("RET",)


async def test_nul_in_a_movement_stops_no_stream(harness: SinkHarness):
    """İYS's texts are read without it."""
    await harness.register_onay()
    harness.iys.citizen("RET", source="IYS_\0WEB")
    await harness.pull_and_ingest(Stream.IYS)
    assert (await harness.row(PHONE)).registered == "RET"
