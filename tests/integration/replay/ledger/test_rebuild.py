"""The rows of the ledger follow from its history, and what differs is found and repaired.

Rows that are missing are restored in bulk as the general path restores them, one by one.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent import LAW_VERSION, TURKEY_CALENDAR, OurError
from izin.iys.wire_format import Stream
from izin.ledger import reads
from izin.ledger.bulk import saving
from izin.ledger.history import rebuild_key
from izin.ledger.privacy import erasure
from izin.ledger.record import DECIDED, ConsentRow, FencedError
from izin.ledger.unit_of_work import lock
from izin.replay.ledger import rebuild as rebuilding
from izin.replay.ledger.rebuild import (
    REPAIRED,
    DifferingRow,
    LedgerComparison,
    LedgerRebuild,
    Repaired,
    RowRepair,
    differing_rows,
)
from izin.runtime.plan import Plan, PlanMovedError, Selection, UnreadablePlanError
from izin.runtime.settings import LedgerSettings
from tests.integration.ledger.test_erasure import answered, opted_out, requested
from tests.integration.sinks.ingest.test_ownership import of_beta
from tests.integration.sinks.sink_harness import (
    A_MINUTE,
    SinkHarness,
    a_phone,
    given_at,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, EMAIL, PHONE, a_key, an_iys_event, an_iys_origin

pytestmark = pytest.mark.database

EVERYTHING = Selection()
OTHER = a_phone(2)


async def every_kind(harness: SinkHarness) -> None:
    """Have rows of every kind of decision, some of them settled at İYS."""
    await harness.register_onay()
    await harness.ingest(ret(PHONE))
    await harness.ingest(onay(OTHER, minutes=30), onay(a_phone(3), minutes=20))
    await harness.ingest(onay(OTHER, minutes=40), ret(OTHER, minutes=35))  # stale
    same = onay(a_phone(4), minutes=15)
    await harness.ingest(same)
    await harness.ingest(replace(same, event_id="a-better-one", notice_version="2026-1"))
    await harness.ingest(
        replace(onay(a_phone(5)), retailer_code=66438915, retailer_access=(66438916,))
    )
    at = onay(minutes=9).consent_date
    assert at is not None
    iys = an_iys_origin(creation_date=at)
    await harness.ingest(an_iys_event(recipient=a_phone(6), consent_date=at, iys=iys))
    await harness.ingest(of_beta(onay(a_phone(7))), ret(a_phone(8), minutes=20))
    await harness.ingest(of_beta(onay(a_phone(8))))
    await harness.ingest(replace(onay(a_phone(9)), brand_code=BRAND + 7))
    await harness.ingest(onay(a_phone(10), evidence={"form": "1"}))


async def planned(rebuild: LedgerRebuild, file: Path) -> LedgerComparison:
    """Plan a rebuild of everything."""
    return await rebuild.plan(file, EVERYTHING, by="ada")


async def executed(harness: SinkHarness, rebuild: LedgerRebuild, file: Path) -> Repaired:
    """Execute the plan in ``file``."""
    return await rebuild.execute(Plan.read(file), harness.context.topic_messages, by="ada")


async def repaired(harness: SinkHarness, rebuild: LedgerRebuild, file: Path) -> Repaired:
    """Plan a rebuild of everything, and execute it."""
    await planned(rebuild, file)
    return await executed(harness, rebuild, file)


async def rows(harness: SinkHarness) -> dict[str, ConsentRow]:
    """Return every row by its key."""
    found = await harness.ledger.fetch("SELECT key FROM consents")
    async with harness.ledger.transaction() as connection:
        return await lock(connection, [row["key"] for row in found])


async def lose_rows(harness: SinkHarness) -> dict[str, ConsentRow]:
    """Lose the table of consents; return what it had."""
    before = await rows(harness)
    await harness.ledger.fetch("DELETE FROM consents RETURNING key")
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    return before


def decided(row: ConsentRow) -> Mapping[str, Any]:
    """Return what decisions made of a row."""
    return {name: getattr(row, name) for name in DECIDED}


def edit(file: Path, before: str, after: str) -> None:
    """Edit a file by hand."""
    file.write_text(file.read_text().replace(before, after))


async def differences(harness: SinkHarness) -> list[DifferingRow]:
    """Return the keys that differ."""
    return await differing_rows(harness.ledger)


async def test_untouched_ledger_differs_in_nothing(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Whatever was decided, and however often, the history gives the row that stands."""
    await every_kind(harness)
    found = await planned(rebuild, plan_file)
    assert await differences(harness) == []
    assert found.shadow == found.current
    assert found.shadow_keys == found.current_keys == 10
    assert Plan.read(plan_file).options["shadow"] == found.shadow
    assert await executed(harness, rebuild, plan_file) == Repaired()


async def test_opt_in_set_aside_as_void_is_no_difference(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """What İYS never gets is desired by the history, and the opt-out before it by the row."""
    no, void = ret(minutes=60 * 24 * 31), onay(minutes=60 * 24 * 30)
    await harness.ingest(no, onay(a_phone(2)), ret(a_phone(3), minutes=20), onay(a_phone(3)))
    await harness.ingest(void)
    assert await harness.columns("desired_status", "void_event_id") == ("RET", void.event_id)
    found = await planned(rebuild, plan_file)
    assert await differences(harness) == []
    assert found.shadow == found.current
    await harness.set_columns(ret_event_id=None)
    await planned(rebuild, plan_file)
    assert [one.key for one in await differences(harness)] == [str(a_key(recipient=a_phone(3)))]
    await executed(harness, rebuild, plan_file)
    assert (await harness.row(a_phone(3))).ret_event_id == f"ret-{a_phone(3)}-20"


async def test_rows_that_are_lost_keep_what_opt_outs_said(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """An opt-in that was set aside is so again, once İYS was asked."""
    await harness.ingest(ret(minutes=60 * 24 * 31), onay(minutes=60 * 24 * 30))
    await lose_rows(harness)
    await repaired(harness, rebuild, plan_file)
    columns = ("desired_status", "action", "reason", "ret_event_id")
    said = f"ret-{PHONE}-{60 * 24 * 31}"
    assert await harness.columns(*columns) == ("ONAY", "query", "registered-lost", said)
    await harness.query()
    assert await harness.columns("desired_status", "state") == ("ONAY", "expired")


async def test_changed_row_is_found_and_repaired(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """What İYS holds stays, the permission follows, and the history says who ordered it."""
    await every_kind(harness)
    await harness.register_onay(a_phone(11))
    key = str(a_key(recipient=a_phone(11)))
    before = (await rows(harness))[key]
    await harness.ledger.fetch(
        "UPDATE consents SET desired_source = 'HS_CC', latest_ret_at = now() - interval '1 hour'"
        " WHERE key = %(key)s RETURNING key",
        {"key": key},
    )
    found = await planned(rebuild, plan_file)
    assert found.shadow != found.current
    (one,) = await differences(harness)
    assert (one.key, one.kind) == (key, "differing")
    assert one.fields["desired_source"] == ("HS_CC", "HS_WEB")
    assert (await executed(harness, rebuild, plan_file))["changed"] == 1
    after = (await rows(harness))[key]
    # The latest opt-out of a row is never taken back: nobody knows any more who gave it.
    assert decided(after) | {"latest_ret_at": None} == decided(before)
    assert (after.registered, after.verified_at) == (before.registered, before.verified_at)
    assert {one.kind for one in await differences(harness)} == {"newer"}
    (act,) = [fact for fact in await reads.facts(harness.ledger, [key]) if fact.kind == "act"]
    assert (act.data["act"], act.data["by"]) == ("repair row", "ada")
    assert act.data["after"]["plan"] == Plan.read(plan_file).digest


async def test_lost_rows_are_restored_and_iys_is_asked_first(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Field by field as they were decided; nothing is submitted before İYS was queried."""
    await every_kind(harness)
    before = await lose_rows(harness)
    submitted = harness.iys.calls("batchV2") + harness.iys.calls("addV2")
    assert (await planned(rebuild, plan_file)).differences == {"missing": 10}
    assert (await executed(harness, rebuild, plan_file))["restored"] == 10
    after = await rows(harness)
    passed_over = str(a_key(recipient=a_phone(8)))
    assert {key: decided(row) for key, row in after.items()} == {
        key: decided(row) for key, row in before.items()
    }
    for row in after.values():
        assert (row.registered, row.verified_at, row.may_send) == ("UNKNOWN", None, False)
    assert after[passed_over].desired_status == "RET"
    assert (await harness.row(a_phone(7))).reason == "other-customer"
    assert await harness.columns("action", "reason", recipient=OTHER) == (
        "query",
        "registered-lost",
    )
    assert not await harness.bulk()
    assert not await harness.scheduler.expire()
    assert harness.iys.calls("batchV2") + harness.iys.calls("addV2") == submitted
    for recipient in (PHONE, OTHER):
        assert await harness.permissions(recipient) == [False]
    assert (await planned(rebuild, plan_file)).differences == {}


async def test_call_that_is_open_stays_open_when_its_row_was_lost(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Its result settles the restored row; nothing is submitted twice."""
    await harness.ingest(onay())
    assert await harness.bulk()
    await lose_rows(harness)
    assert (await repaired(harness, rebuild, plan_file))["restored"] == 1
    assert await harness.columns("state", "onay_open") == ("awaiting_result", True)
    assert not await harness.bulk()
    assert not await harness.query()
    assert await harness.settle()
    assert await harness.columns("state", "registered", "may_send") == ("accepted", "ONAY", True)
    assert harness.iys.calls("batchV2") == 1


async def test_newer_row_stays_and_is_reported(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """A row of an event that the history does not have is for a person."""
    await harness.ingest(onay(), onay(OTHER))
    await harness.ledger.fetch(
        "UPDATE consents SET desired_event_id = 'x', desired_status = 'RET', desired_at = now()"
        " WHERE recipient = %(one)s RETURNING key",
        {"one": PHONE},
    )
    await harness.ledger.fetch(
        "UPDATE consents SET key = key || '0', recipient = recipient || '0'"
        " WHERE recipient = %(one)s RETURNING key",
        {"one": OTHER},
    )
    found = await planned(rebuild, plan_file)
    assert found.differences == {"missing": 1, "newer": 1, "surplus": 1}
    assert sum(count for kind, count in found.differences.items() if kind in REPAIRED) == 1
    assert await executed(harness, rebuild, plan_file) == Repaired(restored=1)
    assert await harness.columns("desired_event_id") == ("x",)
    assert {one.kind for one in await differences(harness)} == {"newer", "surplus"}


async def test_wrong_calendar_is_found_and_repaired(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """The terms of what waits are counted by the calendar of today; nothing else differs."""
    await harness.ingest(onay(), ret(OTHER))
    current = await harness.columns("due_at", "expires_at")
    days = [date.today() + timedelta(days=number) for number in range(1, 4)]  # noqa: DTZ011  # any
    url = rebuild.settings.database_url
    closed = LedgerSettings(database_url=url, extra_closed_days=tuple(days))
    other = replace(rebuild, settings=closed)
    harness.ledger.calendar = closed.calendar
    found = await planned(other, plan_file)
    assert found.shadow == found.current
    assert set(found.differences) == {"terms"}
    with pytest.raises(PlanMovedError, match="IZIN_EXTRA_CLOSED_DAYS"):
        await executed(harness, rebuild, plan_file)
    assert (await executed(harness, other, plan_file))["changed"] == 2
    assert await harness.columns("due_at", "expires_at") > current
    assert harness.ledger.calendar != TURKEY_CALENDAR


async def test_execution_beside_a_sink_process_is_refused(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Planning disturbs nobody, so it may run beside."""
    await harness.ingest(onay())
    async with harness.living():
        await planned(rebuild, plan_file)
        with pytest.raises(OurError, match="1 other processes of the sinks"):
            await executed(harness, rebuild, plan_file)


async def test_plan_that_no_longer_holds_is_refused(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Decisions were ingested, the law is another one, or somebody edited the file."""
    await harness.ingest(onay())
    await planned(rebuild, plan_file)
    older = replace(Plan.read(plan_file), law_version=LAW_VERSION - 1)
    with pytest.raises(PlanMovedError, match="the law has version"):
        await rebuild.check(older)
    await harness.ingest(onay(OTHER))
    with pytest.raises(PlanMovedError, match="was read up to 2, not 1"):
        await executed(harness, rebuild, plan_file)
    edit(plan_file, '"ada"', '"eve"')
    with pytest.raises(UnreadablePlanError, match="edited"):
        await executed(harness, rebuild, plan_file)


async def test_selection_concerns_its_keys_alone(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """The rows of others that are missing stay so."""
    await harness.ingest(onay(), onay(OTHER))
    await lose_rows(harness)
    chosen = Selection(recipients=frozenset({OTHER}), brands=frozenset({BRAND}))
    assert (await rebuild.plan(plan_file, chosen, by="ada")).differences == {"missing": 1}
    assert (await executed(harness, rebuild, plan_file))["restored"] == 1
    assert [row.recipient for row in (await rows(harness)).values()] == [OTHER]


async def test_erased_person_does_not_come_back(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """The history is retained for years; what was decided since the erasure counts."""
    await harness.ingest(onay(OTHER))
    await opted_out(harness)
    await answered(harness, await requested(harness))
    assert (await planned(rebuild, plan_file)).differences == {}
    assert await erasure.remove(harness.ledger, harness.context.topic_messages, now=harness.clock())
    await lose_rows(harness)
    assert (await planned(rebuild, plan_file)).differences == {"missing": 1}
    await executed(harness, rebuild, plan_file)
    assert [row.recipient for row in (await rows(harness)).values()] == [OTHER]
    await harness.ingest_again(onay(PHONE, minutes=0))
    assert (await planned(rebuild, plan_file)).differences == {}
    before = await lose_rows(harness)
    await repaired(harness, rebuild, plan_file)
    assert decided((await rows(harness))[str(a_key())]) == decided(before[str(a_key())])


async def test_shadow_that_is_gone_is_folded_again(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path, tmp_path: Path
):
    """A crash of the server empties it, and so does the plan of another rebuild."""
    await harness.ingest(onay(), onay(OTHER))
    await lose_rows(harness)
    await planned(rebuild, plan_file)
    await planned(rebuild, tmp_path / "another.json")
    assert not await rebuild.is_shadow_of(Plan.read(plan_file))
    assert (await executed(harness, rebuild, plan_file))["restored"] == 2


async def test_vouched_consent_stays_attested(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Who requeued a re-consent has attested it; the act is in the history."""
    await harness.register_onay()
    harness.iys.citizen("RET", PHONE)
    await harness.pull_and_ingest(Stream.IYS)
    harness.advance(A_MINUTE)
    await harness.ingest(given_at(harness.clock().replace(microsecond=0)))
    assert (await harness.row()).reason == "reconsent"
    assert await harness.requeue("reconsent") == 1
    assert (await harness.row()).attested
    found = await planned(rebuild, plan_file)
    assert found.shadow == found.current


async def test_person_erased_since_the_plan_does_not_come_back(
    harness: SinkHarness, rebuild: LedgerRebuild, plan_file: Path
):
    """Whose row was missing when it was made, and is erased before it is executed."""
    await harness.ingest(onay(OTHER))
    await opted_out(harness)
    await lose_rows(harness)
    assert (await planned(rebuild, plan_file)).differences == {"missing": 2}
    await answered(harness, await requested(harness))
    await executed(harness, rebuild, plan_file)
    assert [row.recipient for row in (await rows(harness)).values()] == [OTHER]


async def test_killed_rebuild_goes_on_where_it_was(
    harness: SinkHarness,
    rebuild: LedgerRebuild,
    database_url: str,
    plan_file: Path,
):
    """The parts that are done are not folded again, and the digest is the same."""
    await harness.ingest_for(onay, range(2, 40))
    (last,) = await harness.ledger.fetch(
        "SELECT key FROM consents ORDER BY hashtextextended(key, 0) DESC LIMIT 1"
    )
    command = ("replay", "rebuild", "ledger", "--plan", str(plan_file), "--processes", "1")
    async with harness.ledger.session() as blocking:
        # Whoever folds the last part waits for this key.
        await blocking.execute("BEGIN")
        await blocking.execute(
            "INSERT INTO shadow_consents (key, customer_id, brand_code, channel, recipient_type,"
            " recipient, registrable, attested) VALUES (%s, '', 1, '', '', '', true, true)",
            [last["key"]],
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "izin.cli", *command),
            env={**os.environ, "DATABASE_URL": database_url},
            stderr=asyncio.subprocess.DEVNULL,
        )

        async def is_amid() -> bool:
            return len(await harness.ledger.fetch("SELECT slice FROM shadow_slices")) == 1

        await until(is_amid, within=60)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await blocking.execute("ROLLBACK")
    done = await harness.ledger.fetch("SELECT xmin::text FROM shadow_slices WHERE slice = 0")
    resumed = await planned(rebuild, plan_file)
    assert done == await harness.ledger.fetch(
        "SELECT xmin::text FROM shadow_slices WHERE slice = 0"
    )
    assert await planned(rebuild, plan_file) == resumed
    assert (resumed.shadow, resumed.shadow_keys) == (resumed.current, 38)


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
    assert in_bulk[2]["restored"] == len(in_bulk[0]) == len(permissions) == 31
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
    assert (done["restored"], done["changed"]) == (1, 1)
    after = await rows(harness)
    current = f"{BRAND}/MESAJ/BIREYSEL/{a_phone(3)}"
    assert after.keys() == before.keys()
    assert after[current].registered_state == before[current].registered_state
    assert after[current].verified_by is None


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
