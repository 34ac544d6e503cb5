"""What can come back, and what has, from a real ledger."""

import csv
import json
from pathlib import Path

import pytest

from izin.onboarding.pack import (
    CORRECTED,
    OCCASION,
    OWN_WISH,
    listed,
    way_back,
)
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    Izin,
    SinkHarness,
    a_phone,
    acts,
    ended,
    onay,
)
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database
A_MONTH = 60 * 24 * 30
"""In minutes."""


async def expired(harness: SinkHarness, *recipients: str) -> None:
    """Have the consents of recipients reach us a month after they were given."""
    await harness.ingest(*(onay(one, minutes=A_MONTH) for one in recipients))
    assert set(await harness.states_of(recipients)) == {"expired"}


async def test_void_consents_have_their_ways_back(harness: SinkHarness):
    """One that was late, one that İYS refused for its address, one beside an opt-out; who has opted
    out since has no consent that is void, but an opt-out.
    """
    late, opted_out, wrong, gone = PHONE, a_phone(2), a_phone(3), a_phone(4)
    await expired(harness, late, opted_out, gone)
    # İYS holds an opt-out from before, which the late consent never replaced.
    await harness.ledger.fetch(
        "UPDATE consents SET registered = 'RET' WHERE recipient = %(recipient)s RETURNING key",
        {"recipient": opted_out},
    )
    harness.citizen("RET", gone, then=A_SECOND * 5)
    await harness.ingest(*await harness.pull())
    await harness.ingest(onay(wrong, minutes=1))
    harness.iys.inject_fault("batchV2", status=422, code="H121")
    assert await harness.bulk()
    found = {one["recipient"]: way_back(one) async for one in listed(harness.ledger, [BRAND])}
    assert found == {late: OCCASION, opted_out: OWN_WISH, wrong: CORRECTED}
    assert [one async for one in listed(harness.ledger, [7])] == []


async def test_returned_is_what_iys_holds_by_a_later_consent(harness: SinkHarness):
    """A consent that was never void has not come back, nor one that is still void."""
    await expired(harness, PHONE, a_phone(2))
    await harness.register(onay(a_phone(3), minutes=3))
    assert [one async for one in listed(harness.ledger, [BRAND], returned=True)] == []
    await harness.register(onay(PHONE, minutes=3, source="HS_FIZIKSEL_ORTAM"))
    (one,) = [one async for one in listed(harness.ledger, [BRAND], returned=True)]
    assert (one["recipient"], one["registered_source"]) == (PHONE, "HS_FIZIKSEL_ORTAM")
    assert one["void_at"] < one["registered_at"]
    still = [one["recipient"] async for one in listed(harness.ledger, [BRAND])]
    assert still == [a_phone(2)]


async def test_command_counts_by_way_and_by_source(
    harness: SinkHarness, izin: Izin, tmp_path: Path
):
    """Void ones end with 1; returned ones with 0; a file is a look, and is read by nobody else."""
    await expired(harness, PHONE, a_phone(2))
    words = ("customers", "void-consents", ACTIVE.customer_id, "--output=json")
    assert json.loads(ended(await izin(*words), 1).stdout) == [
        {"brand": BRAND, "channel": "MESAJ", "comes back": OCCASION[1], "void": 2}
    ]
    await harness.register(onay(PHONE, minutes=3, source="HS_FIZIKSEL_ORTAM"))
    out = tmp_path / "returned.csv"
    shown = ended(await izin(*words, "--returned", "--out", out, "--by=ada"), 0)
    assert json.loads(shown.stdout) == [
        {"brand": BRAND, "channel": "MESAJ", "source": "HS_FIZIKSEL_ORTAM", "returned": 1}
    ]
    (row,) = csv.DictReader(out.read_text("utf-8-sig").splitlines(), delimiter=";")
    assert row["alıcı/recipient"] == f"'{PHONE}"
    assert out.stat().st_mode & 0o777 == 0o600
    (look,) = await acts(harness.ledger, "look")
    assert look["after"]["command"] == "customers void-consents"
    ended(await izin(*words, "--returned", "--out", out), 3)
