"""Complaints: what is due first, whose history they keep, and how long they stay."""

from datetime import timedelta
from typing import Any

import pytest

from izin.sinks.ledger.history import retention
from izin.sinks.ledger.privacy import erasure
from izin.sinks.ledger.registry import complaints
from izin.sinks.ledger.registry.complaints import Complaint, ComplaintOutcome, NewComplaint
from izin.sinks.record.errors import (
    ClosedComplaintError,
    UnknownComplaintError,
    UnregisteredBrandError,
)
from tests.integration.sinks.ledger.test_erasure import KEY, opted_out
from tests.integration.sinks.sink_harness import SinkHarness
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE

pytestmark = pytest.mark.database

DAY = timedelta(days=1)
CONTENT = "Yarın mağazamıza bekleriz"


async def entered(harness: SinkHarness, due: timedelta | None = DAY, **more: Any) -> Complaint:  # noqa: ANN401 - fields
    """Enter a complaint that is due so long from now."""
    now = harness.clock()
    fields: dict[str, Any] = {
        "brand_code": BRAND,
        "channel": "MESAJ",
        "recipient": PHONE,
        "sent_at": NOON,
        "sender": "ORNEK",
        "content": CONTENT,
        "reference": "2026/1",
        "due_at": None if due is None else now + due,
    }
    return await complaints.add(harness.ledger, NewComplaint(**fields | more), by="ada", now=now)


async def closed(harness: SinkHarness, number: int) -> Complaint:
    """Close a complaint."""
    outcome = ComplaintOutcome.UNFOUNDED
    return await complaints.close(
        harness.ledger, number, outcome=outcome, note="no", by="ada", now=harness.clock()
    )


async def acts(harness: SinkHarness) -> list[str]:
    """Return the acts on complaints, as text."""
    rows = await harness.ledger.fetch(
        "SELECT data::text AS data FROM movements WHERE key LIKE 'complaint/%%' ORDER BY place", {}
    )
    return [row["data"] for row in rows]


async def test_complaint_is_answered_closed_and_kept_for_ten_years(harness: SinkHarness):
    """While it is open, nothing of its keys is erased; the history of what was done names nobody;
    it is deleted ten years after it was closed, and one that is open never.
    """
    await opted_out(harness)
    one = await entered(harness)
    (found,) = await erasure.findings(harness.ledger, [KEY])
    assert (len(one.hold_ids), found.may_be_erased) == (2, False)
    assert found.obstacles == (f"legal hold {one.hold_ids[0]}: see izin retention holds",)
    now = harness.clock()
    await complaints.attach(
        harness.ledger, one.id, path="evidence.zip", sha256="ab" * 32, by="ada", now=now
    )
    done = await closed(harness, one.id)
    assert (done.outcome, done.note, done.evidence_path) == ("unfounded", "no", "evidence.zip")
    (found,) = await erasure.findings(harness.ledger, [KEY])
    assert found.may_be_erased
    assert await retention.holds(harness.ledger) == ()
    added, attached, ended = await acts(harness)
    assert '"add complaint"' in added
    assert f'"sha256":"{"ab" * 32}"' in attached
    assert '"close complaint"' in ended
    assert not any(PHONE in one or CONTENT in one for one in (added, attached, ended))
    with pytest.raises(ClosedComplaintError):
        await closed(harness, one.id)
    await entered(harness)
    for years, left in ((9, 2), (11, 1)):
        later = harness.clock() + timedelta(days=366 * years)
        await retention.delete_expired(harness.ledger, now=later)
        assert len(await complaints.every(harness.ledger, closed=True)) == left


async def test_overdue_complaints_come_first(harness: SinkHarness):
    """Then what is due next, then what names no day; closed ones only on demand. An export for a
    person has its complaints, of the customer that is asked or of all.
    """
    for due in (None, 2 * DAY, -DAY, DAY):
        await entered(harness, due)
    found = await complaints.every(harness.ledger)
    assert [one.id for one in found] == [3, 4, 2, 1]
    assert [one.is_overdue(harness.clock()) for one in found] == [True, False, False, False]
    counts = await complaints.counts(harness.ledger, now=harness.clock())
    assert (counts.open, counts.overdue) == (4, 1)
    await closed(harness, 3)
    assert [one.id for one in await complaints.every(harness.ledger)] == [4, 2, 1]
    assert [one.id for one in await complaints.every(harness.ledger, closed=True)] == [4, 2, 1, 3]
    assert await complaints.every(harness.ledger, brand_code=BRAND + 1) == ()
    for customer, count in ((None, 4), (CUSTOMER, 4), ("beta", 0)):
        exported = await erasure.export(harness.ledger, PHONE, customer=customer)
        assert len(exported["complaints"]) == count
    with pytest.raises(UnregisteredBrandError):
        await entered(harness, brand_code=7)
    with pytest.raises(UnknownComplaintError):
        await closed(harness, 7)
    with pytest.raises(UnknownComplaintError):
        await complaints.find(harness.ledger, 7)
