"""What is due is seen in time, late opt-outs stay on record, and a person can act."""

import csv
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from izin.ledger import reads, suspensions as ledger_suspensions
from izin.runtime.masking import mask_event
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Izin,
    SinkHarness,
    a_phone,
    ended,
    onay,
    ret,
)
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database


async def pass_term(harness: SinkHarness, recipient: str, share: float) -> None:
    """Set the dates of a row so that this share of its term has passed."""
    await harness.ledger.fetch(
        """UPDATE consents SET desired_at = %(now)s - %(passed)s * interval '100 hours',
            due_at = %(now)s + (1 - %(passed)s) * interval '100 hours'
        WHERE recipient = %(recipient)s RETURNING key""",
        {"now": harness.clock(), "passed": share, "recipient": recipient},
    )


async def test_margins_count_unsettled_records_by_passed_term(
    harness: SinkHarness,
):
    """Opt-outs come first, and settled records are not counted."""
    await harness.register_onay(a_phone(9))
    shares = (0.1, 0.5, 0.79, 0.8, 0.95, 1.1)
    people = [a_phone(number) for number in range(len(shares))]
    await harness.ingest(*(onay(one) for one in people), ret(a_phone(9)))
    for person, share in zip(people, shares, strict=True):
        await pass_term(harness, person, share)
    opt_outs, opt_ins = await reads.margins(harness.ledger, now=harness.clock())
    assert (opt_outs.status, opt_outs.keys, opt_outs.missed) == ("RET", 1, 0)
    passed = (opt_ins.missed, opt_ins.past_95, opt_ins.past_80, opt_ins.past_50)
    assert (opt_ins.keys, passed, opt_ins.due_soon) == (6, (1, 1, 1, 2), 3)
    assert (opt_outs.past_95, opt_outs.past_80) == (0, 0)


async def test_monitor_alerts_once_per_stage(harness: SinkHarness):
    """An alert is repeated only if more records have reached the stage."""
    watch = harness.monitor
    await harness.ingest(onay(), onay(a_phone(2)))
    assert await watch.check() == ()
    await pass_term(harness, PHONE, 0.96)
    about = {"brand": BRAND, "channel": "MESAJ", "status": "ONAY"}
    (alert,) = await watch.check()
    assert (alert.event, alert.is_urgent) == ("deadline stage reached", False)
    assert dict(alert.fields) == {**about, "stage": "past_95"}
    assert await watch.check() == ()
    await pass_term(harness, PHONE, 1.01)
    await pass_term(harness, a_phone(2), 0.97)
    (alert,) = await watch.check()
    assert (alert.is_urgent, dict(alert.fields)) == (True, {**about, "stage": "missed"})
    assert await watch.check() == ()


async def test_suspended_opt_outs_alert_at_once(harness: SinkHarness):
    """A person can withdraw them on İYS's own pages; a consent behind the same suspension waits."""
    watch = harness.monitor
    await harness.register_onay()
    await harness.register_onay(a_phone(2))
    await harness.ingest(ret(), onay(a_phone(3)))
    assert await watch.check() == ()
    await harness.meet_fault("addV2", harness.opt_out, status=403, code="H521")
    (alert,) = await watch.check()
    assert (alert.event, dict(alert.fields)["channel"]) == ("opt-outs suspended", "MESAJ")
    assert await watch.check() == ()
    await harness.ingest(ret(a_phone(2)))
    with capture_logs() as logs:
        assert await watch.check() == (alert,)
    (line,) = (mask_event(None, "", dict(log)) for log in logs)
    assert (line["log_level"], line["records"], line["brand"]) == ("critical", 2, BRAND)


async def test_late_opt_out_is_submitted_and_recorded_as_breach(harness: SinkHarness, izin: Izin):
    """The breach stays on record."""
    await harness.register_onay(a_phone(2))
    await harness.submit_opt_out(ret(a_phone(2)))
    await harness.ingest_opt_out()
    harness.advance(timedelta(days=15))
    assert await harness.opt_out()
    # İYS refuses it for its date by then; the rescue of today is another event.
    assert await harness.columns("state", "action", "code") == ("refused", "rescue", "H467")
    (breach,) = await reads.breaches(harness.ledger)
    assert breach["key"].endswith(PHONE)
    assert PHONE in ended(await izin("deadlines", "breaches", "--output", "json"), 1).output


async def test_opt_outs_command_writes_suspended_opt_outs_to_a_file(
    harness: SinkHarness, izin: Izin, tmp_path: Path
):
    """Readable by nobody else, with what a person has to withdraw; no cell is a formula for a
    spreadsheet.
    """
    await harness.refuse_opt_out(403, "H521", onay(a_phone(2)))
    file = tmp_path / "opt-outs.csv"
    words = ["deadlines", "opt-outs", str(BRAND), "--out"]
    ended(await izin(*words, file), 0)
    (line,) = csv.DictReader(file.read_text("utf-8").splitlines())
    assert (line["recipient"], line["type"], line["status"]) == (f"'{PHONE}", "MESAJ", "RET")
    assert line["state"] == "configuration"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ended(await izin(*words, file), 3)
    ended(await izin("deadlines", "show"), 1, "2 are suspended")
    ended(await izin(*words, tmp_path / "none" / "a.csv"), 3, "cannot be written")
    ended(await izin("deadlines", "opt-outs", "999", "--out", tmp_path / "empty.csv"), 3)
    assert not (tmp_path / "empty.csv").exists()


async def test_deadlines_command_exits_1_on_a_missed_term(harness: SinkHarness, izin: Izin):
    """Exit code 0 while all is in time."""
    await harness.ingest(onay())
    words = ["deadlines", "show", "--output", "json"]
    assert '"will_be_late": 0' in ended(await izin(*words), 0).output
    await pass_term(harness, PHONE, 1.1)
    assert '"missed": 1' in ended(await izin(*words), 1).output


async def test_overdue_opt_ins_go_in_a_batch_of_their_own(harness: SinkHarness):
    """İYS may count the term from another hour, and refuse the whole batch."""
    people = await harness.ingest_for(onay, range(4))
    # Given minutes ago, so that İYS accepts them on whatever day and hour this runs.
    await harness.ledger.fetch(
        "UPDATE consents SET due_at = %(now)s - interval '1 minute'"
        " WHERE recipient = ANY(%(past)s) RETURNING key",
        {"now": harness.clock(), "past": [people[1], people[3]]},
    )
    assert await harness.bulk()
    assert await harness.states_of(people) == [
        "pending",
        "awaiting_result",
        "pending",
        "awaiting_result",
    ]
    assert await harness.bulk()
    assert set(await harness.states_of(people)) == {"awaiting_result"}


async def test_closed_subscription_suspends_brands_of_its_provider(
    harness: SinkHarness,
):
    """A brand of another provider goes on; one retry, a minute later, counts for all."""
    await harness.brand(replace(ACTIVE, brand_code=BRAND + 1))
    await harness.brand(replace(ACTIVE, brand_code=BRAND + 2, iys_code=ACTIVE.iys_code + 2))
    await harness.register_onay()
    await harness.register_onay(a_phone(2))
    harness.iys.inject_fault("addV2", status=403, code="H524", times=2)
    await harness.submit_opt_out(ret(), ret(a_phone(2)))
    suspensions = await harness.suspensions()
    assert [(one.brand_code, one.scope, one.code) for one in suspensions] == [
        (BRAND, "provider", "H524"),
        (BRAND + 1, "provider", "H524"),
    ]
    assert not await harness.opt_out()
    harness.advance(timedelta(minutes=1))
    assert await harness.opt_out()
    first, following = await harness.suspensions()
    assert first.rechecks == following.rechecks == 1
    assert first.recheck_at == following.recheck_at >= harness.clock() + timedelta(seconds=100)
    assert (
        await ledger_suspensions.recheck_now(harness.ledger, BRAND, by="ada", now=harness.clock())
        == 1
    )
    harness.advance(timedelta(minutes=1))
    assert await harness.opt_out()
    assert await harness.suspensions() == ()
