"""What is due is seen in time, what was told too late stays on record, and a person can act."""

import asyncio
import csv
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from izin.console.cli import app
from izin.iys import CircuitState
from izin.runtime.observe import _mask_event
from izin.sinks.ledger import deadlines
from izin.sinks.ledger import suspensions as standing
from izin.sinks.monitor.deadlines import Alert, DeadlineMonitor
from izin.sinks.record.suspension import EVERY
from tests.integration.sinks.sink_harness import ACTIVE, House, a_phone, onay, ret
from tests.support.builders import BRAND, PHONE

pytestmark = pytest.mark.database


async def term_has_passed(house: House, recipient: str, share: float) -> None:
    """Have so much of a record's term be over: it was said then, and is due so much later."""
    await house.ledger.fetch(
        """UPDATE consents SET desired_at = %(now)s - %(passed)s * interval '100 hours',
            due_at = %(now)s + (1 - %(passed)s) * interval '100 hours'
        WHERE recipient = %(recipient)s RETURNING key""",
        {"now": house.clock(), "passed": share, "recipient": recipient},
    )


async def test_what_is_not_settled_is_counted_by_how_much_of_its_term_has_passed(house: House):
    """Opt-outs first; what is settled counts no more."""
    await house.told_onay(a_phone(9))
    shares = (0.1, 0.5, 0.79, 0.8, 0.95, 1.1)
    people = [a_phone(number) for number in range(len(shares))]
    await house.ingest(*(onay(one) for one in people), ret(a_phone(9)))
    for person, share in zip(people, shares, strict=True):
        await term_has_passed(house, person, share)
    no, yes = await deadlines.margins(house.ledger, now=house.clock())
    assert (no.status, no.keys, no.missed) == ("RET", 1, 0)
    assert (yes.keys, yes.missed, yes.past_95, yes.past_80, yes.past_50) == (6, 1, 1, 1, 2)
    assert yes.due_soon == 3
    assert yes.is_alarming
    assert not no.is_alarming


async def test_an_alarm_rings_when_more_has_come_so_far_and_not_at_every_look(house: House):
    """Whoever is called ten times for one thing does not come the eleventh time."""
    watch = DeadlineMonitor(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    await house.ingest(onay(PHONE), onay(a_phone(2)))
    assert await watch.look() == ()
    await term_has_passed(house, PHONE, 0.96)
    rung = Alert(brand_code=BRAND, channel="MESAJ", status="ONAY", stage="past_95", keys=1)
    assert await watch.look() == (rung,)
    assert await watch.look() == ()
    await term_has_passed(house, PHONE, 1.01)
    await term_has_passed(house, a_phone(2), 0.97)
    assert await watch.look() == (replace(rung, stage="missed"),)
    assert await watch.look() == ()


async def test_opt_outs_that_are_kept_from_iys_ring_at_once(house: House):
    """Nobody waits until their term is half over: a person can withdraw them on İYS's own pages. A
    consent behind the same fault waits, and what is not stopped rings for nobody.
    """
    watch = DeadlineMonitor(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    await house.told_onay(PHONE)
    await house.told_onay(a_phone(2))
    await house.ingest(ret(PHONE), onay(a_phone(3)))
    assert await watch.look() == ()
    house.twin.weather("addV2", status=403, code="H521")
    assert await house.scheduler.opt_out()
    rung = Alert(brand_code=BRAND, channel="MESAJ", status="RET", stage="kept", keys=1)
    assert await watch.look() == (rung,)
    assert await watch.look() == ()
    await house.ingest(ret(a_phone(2)))
    with capture_logs() as logs:
        assert await watch.look() == (replace(rung, keys=2),)
    (line,) = (_mask_event(None, "", dict(log)) for log in logs)
    assert (line["log_level"], line["records"], line["brand"]) == ("critical", 2, BRAND)


async def test_an_opt_out_told_too_late_is_a_breach_on_record(
    house: House, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """It is told all the same, and what was missed can be read for ever."""
    await house.told_onay(PHONE)
    await house.told_onay(a_phone(2))
    await house.ingest(ret(a_phone(2)))
    assert await house.scheduler.opt_out()
    await house.ingest(ret(PHONE))
    house.passes(timedelta(days=15))
    assert await house.scheduler.opt_out()
    entry = await house.entry()
    # İYS refuses it for its date by then; the one of today that follows is another event.
    assert (entry.state, entry.action, entry.code) == ("refused", "rescue", "H467")
    (breach,) = await deadlines.breaches(house.ledger)
    assert breach["key"].endswith(PHONE)
    monkeypatch.setenv("DATABASE_URL", database_url)
    words = ["deadlines", "breaches", "--output", "json"]
    shown = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert (shown.exit_code, PHONE in shown.output) == (1, True)


async def test_opt_outs_behind_a_fault_go_into_a_file_for_a_person(
    house: House, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A closed subscription keeps them from İYS: what a person withdraws there is written down,
    readable by nobody else, and settles when İYS shows it.
    """
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE), onay(a_phone(2)))
    house.twin.weather("addV2", status=403, code="H521")
    assert await house.scheduler.opt_out()
    monkeypatch.setenv("DATABASE_URL", database_url)
    file = tmp_path / "opt-outs.csv"
    words = ["deadlines", "opt-outs", str(BRAND), "--file", str(file)]
    assert (await asyncio.to_thread(CliRunner().invoke, app, words)).exit_code == 0
    (line,) = read(file)
    assert (line["recipient"], line["type"], line["status"]) == (PHONE, "MESAJ", "RET")
    assert line["state"] == "configuration"
    assert stat.S_IMODE(mode(file)) == 0o600
    assert (await asyncio.to_thread(CliRunner().invoke, app, words)).exit_code == 3
    monkeypatch.setenv("IYS_USERNAME", "ada")
    monkeypatch.setenv("IYS_PASSWORD", "fake")
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["deadlines"])
    assert (shown.exit_code, "2 are suspended" in shown.stderr) == (1, True)
    nowhere = ["deadlines", "opt-outs", str(BRAND), "--file", str(tmp_path / "none" / "a.csv")]
    told = await asyncio.to_thread(CliRunner().invoke, app, nowhere)
    assert (told.exit_code, "cannot be written" in told.output) == (3, True)
    nobodys = ["deadlines", "opt-outs", "999", "--file", str(tmp_path / "empty.csv")]
    assert (await asyncio.to_thread(CliRunner().invoke, app, nobodys)).exit_code == 3
    assert not (tmp_path / "empty.csv").exists()


def read(file: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def mode(file: Path) -> int:
    """Return the mode of a file."""
    return file.stat().st_mode


async def test_people_see_what_is_due_and_what_will_be_late(
    house: House, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """Exit code 0 while all is in time, 1 as soon as something is missed."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("IYS_USERNAME", "ada")
    monkeypatch.setenv("IYS_PASSWORD", "fake")
    await house.ingest(onay(PHONE))
    words = ["deadlines", "show", "--output", "json"]
    shown = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert (shown.exit_code, '"will_be_late": 0' in shown.output) == (0, True)
    await term_has_passed(house, PHONE, 1.1)
    shown = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert (shown.exit_code, '"missed": 1' in shown.output) == (1, True)
    alone = await asyncio.to_thread(CliRunner().invoke, app, words[:1])
    shown = await asyncio.to_thread(CliRunner().invoke, app, words[:2])
    assert (alone.exit_code, alone.stdout) == (1, shown.stdout)
    alone = await asyncio.to_thread(CliRunner().invoke, app, [words[0], *words[2:]])
    assert '"missed": 1' in alone.stdout


async def test_what_is_past_due_goes_in_a_batch_of_its_own(house: House):
    """İYS may count the term from another hour: its refusal must not meet those in time."""
    people = [a_phone(number) for number in range(4)]
    await house.ingest(*(onay(one) for one in people))
    # Said minutes ago, so that İYS takes them on whatever day and hour this runs.
    await house.ledger.fetch(
        "UPDATE consents SET due_at = %(now)s - interval '1 minute'"
        " WHERE recipient = ANY(%(past)s) RETURNING key",
        {"now": house.clock(), "past": [people[1], people[3]]},
    )
    assert await house.scheduler.bulk()
    assert [(await house.entry(one)).state for one in people] == [
        "pending",
        "awaiting_result",
        "pending",
        "awaiting_result",
    ]
    assert await house.scheduler.bulk()
    assert {(await house.entry(one)).state for one in people} == {"awaiting_result"}


async def test_a_closed_subscription_stops_every_brand_of_its_provider_and_one_try_shows(
    house: House,
):
    """Two brands of one provider and a third of another: the third goes on; one try, a minute
    later, tells of both.
    """
    second = replace(ACTIVE, brand_code=BRAND + 1)
    other = replace(ACTIVE, brand_code=BRAND + 2, iys_code=ACTIVE.iys_code + 2)
    for brand in (second, other):
        await house.brand(brand)
    await house.told_onay(PHONE)
    await house.told_onay(a_phone(2))
    house.twin.weather("addV2", status=403, code="H524", times=2)
    await house.ingest(ret(PHONE), ret(a_phone(2)))
    assert await house.scheduler.opt_out()
    stops = await standing.stops(house.ledger)
    assert [(one.brand_code, one.scope, one.code) for one in stops] == [
        (BRAND, "provider", "H524"),
        (BRAND + 1, "provider", "H524"),
    ]
    assert not await house.scheduler.opt_out()
    house.passes(timedelta(minutes=1))
    assert await house.scheduler.opt_out()
    first, following = await standing.stops(house.ledger)
    assert first.rechecks == following.rechecks == 1
    assert first.recheck_at == following.recheck_at >= house.clock() + timedelta(seconds=100)
    assert await standing.try_now(house.ledger, BRAND, now=house.clock()) == 1
    house.passes(timedelta(minutes=1))
    assert await house.scheduler.opt_out()
    assert await standing.stops(house.ledger) == ()


async def test_a_spent_quota_stays_when_an_opt_out_passes(house: House):
    """What İYS takes of opt-outs says nothing of room for new consents."""
    await house.told_onay(PHONE)
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            account="ada",
            channel=EVERY,
            status="ONAY",
            code="H525",
            reason="the quota is spent",
            scope="provider",
            now=house.clock(),
        )
    await house.ingest(ret(PHONE))
    assert await house.scheduler.opt_out()
    assert [one.code for one in await standing.stops(house.ledger)] == ["H525"]


async def test_credentials_that_iys_does_not_take_stop_every_brand(house: House):
    """No brand goes on trying with them, for each try counts against the address."""
    await house.brand(replace(ACTIVE, brand_code=BRAND + 1, iys_code=ACTIVE.iys_code + 1))
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    house.twin.weather("addV2", status=401, code="H251")
    assert await house.scheduler.opt_out()
    stops = await standing.stops(house.ledger)
    assert [(one.brand_code, one.scope) for one in stops] == [
        (BRAND, "account"),
        (BRAND + 1, "account"),
    ]
    assert (await house.entry()).state == "retryable"
    assert house.tools.client.circuit_state("add") in {CircuitState.CLOSED, CircuitState.OPEN}
