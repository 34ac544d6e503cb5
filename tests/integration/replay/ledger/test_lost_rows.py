"""Rows that are missing are restored in bulk as the general path restores them, one by one."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.ledger import reads
from izin.ledger.bulk import saving
from izin.ledger.history import rebuild_key
from izin.ledger.record import ConsentRow, FencedError
from izin.replay.ledger import rebuild as rebuilding
from izin.replay.ledger.rebuild import LedgerRebuild, Repaired, RowRepair
from tests.integration.replay.ledger.test_rebuild import (
    every_kind,
    executed,
    lose_rows,
    planned,
    repaired,
    rows,
)
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND, EMAIL

pytestmark = pytest.mark.database

_LONG = f"{'a' * 60}@{'b' * 40}.example.com"
"""An address whose length takes two bytes in Avro."""
_AN_HOUR = timedelta(hours=1)


async def more_kinds(harness: SinkHarness) -> None:
    """Have rows that differ in what a template must tell apart."""
    for number, address in enumerate((EMAIL, f"b{EMAIL}", _LONG)):
        await harness.ingest(onay(address, event_id=f"mail-{number}", type="EPOSTA"))
    await harness.ingest(ret(a_phone(31), minutes=20))
    await harness.ingest(onay(a_phone(31), minutes=12))
    await harness.ingest(onay(a_phone(32), minutes=25))
    await harness.ingest(ret(a_phone(32), minutes=20, source=None))
    await harness.ingest(
        onay(a_phone(33), recipient_type="TACIR"),
        onay(a_phone(34), recipient_type="TACIR", consent_date=None, source="HS_WEB"),
        onay(a_phone(35), origin_ref='a "b"\\c\t', notice_version="2026-1"),
        onay(a_phone(36), origin_ref="", notice_version=""),
        ret(a_phone(37)),
    )


async def restored(
    harness: SinkHarness, rebuild: LedgerRebuild, file: Path
) -> tuple[dict[str, ConsentRow], list[dict[str, Any]], Repaired]:
    """Lose the rows and restore them; return them, the records of the outbox, and the counts."""
    await lose_rows(harness)
    done = await repaired(harness, rebuild, file)
    records = await harness.ledger.fetch(
        "SELECT customer_id, topic, key, value, headers, occurred_at FROM outbox"
        " ORDER BY key, topic, value"
    )
    return await rows(harness), records, done


async def test_rows_restored_in_bulk_are_those_of_the_general_path(
    harness: SinkHarness,
    rebuild: LedgerRebuild,
    plan_file: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Column by column, and record by record of the permissions; what no template can make is
    left to the general path.
    """
    await every_kind(harness)
    await more_kinds(harness)
    ahead = a_phone(38)
    at = harness.clock()
    await harness.ingest_for(onay, range(20, 30))
    harness.advance(_AN_HOUR)
    later = harness.clock().replace(microsecond=0)
    await harness.ingest(onay(ahead, consent_date=later, received_at=later))
    frozen = replace(rebuild, clock=lambda: at)
    left: list[str] = []
    save = saving.BulkChanges.save

    async def watched(*given: Any) -> Any:  # noqa: ANN401  # as it has
        found = await save(*given)
        left.extend(one.recipient for one in found)
        return found

    monkeypatch.setattr(rebuilding, "_PAGE", 16)
    monkeypatch.setattr(saving, "FEW", 2)
    monkeypatch.setattr(saving.BulkChanges, "save", watched)
    in_bulk = await restored(harness, frozen, plan_file)
    few = len(left)
    monkeypatch.setattr(saving, "FEW", 10**6)
    assert in_bulk == await restored(harness, frozen, plan_file)
    assert few <= len(in_bulk[0]) // 2
    permissions = [one for one in in_bulk[1] if one["topic"].endswith("permissions")]
    assert in_bulk[2].restored == len(in_bulk[0]) == len(permissions) == 31
    facts = await reads.facts(harness.ledger, [rebuild_key("ledger")])
    assert sum([fact.data["after"]["restored"] for fact in facts]) == 62


async def test_row_that_stands_again_is_not_inserted(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """It is compared with what the history makes of it, under its lock; so is nothing lost."""
    await harness.ingest(onay(a_phone(2)), onay(a_phone(3)))
    before = await rows(harness)
    await planned(rebuild, plan_file)
    await harness.ledger.fetch(
        "INSERT INTO shadow_differences SELECT key, 'missing' FROM consents RETURNING key"
    )
    await harness.ledger.fetch(
        "DELETE FROM consents WHERE recipient = %(one)s RETURNING key", {"one": a_phone(2)}
    )
    done = await executed(harness, rebuild, plan_file)
    assert (done.restored, done.changed) == (1, 1)
    after = await rows(harness)
    standing = f"{BRAND}/MESAJ/BIREYSEL/{a_phone(3)}"
    assert after.keys() == before.keys()
    assert after[standing].registered_state == before[standing].registered_state
    assert after[standing].verified_by is None


async def test_process_that_was_taken_over_restores_nothing(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Each page checks the lease, whichever session makes it."""
    await harness.ingest_for(onay, range(2, 6))
    await lose_rows(harness)
    await planned(rebuild, plan_file)
    reported: list[Repaired] = []
    repair_of_another = RowRepair(
        ledger=harness.ledger.owning("ingest", 99),
        topic_messages=harness.context.topic_messages,
        plan="p",
        by="ada",
        now=harness.clock(),
        report=reported.append,
    )
    with pytest.raises(FencedError):
        await repair_of_another.run()
    assert (await rows(harness), reported) == ({}, [])
    assert (await planned(rebuild, plan_file)).differences == {"missing": 4}
