"""The worked case of docs/replaying.md: a wrong calendar for two weeks, found and put right."""

import csv
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from izin.cli.sending.scrubbing import receipt_path
from izin.consent import Calendar
from izin.ledger.history import verify
from tests.integration.replay.what_if.conftest import (
    DAYS,
    NOON,
    RIGHT,
    WRONG,
    answered,
    closed,
    go_to,
    json_of,
    list_receipt,
    scrubbed,
    take,
)
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    Izin,
    SinkHarness,
    a_phone,
    ended,
    given_at,
)
from tests.support.builders import BRAND

pytestmark = pytest.mark.database

IN_TIME, LATE, LATE_LISTED, EXPIRED = map(a_phone, range(1, 5))
OLD, NEW = f"--open-day={WRONG}", f"--closed-day={RIGHT}"


async def live_two_weeks(harness: SinkHarness) -> dict[str, str]:
    """Have a consent registered in time, two too late, and one expire too early; have the gate
    asked about them, and return the answers to a list.
    """
    noon = harness.clock().replace(microsecond=0)

    await harness.register(given_at(noon, event_id="a", recipient=IN_TIME))
    await harness.ingest(
        given_at(noon, event_id="b", recipient=LATE),
        given_at(noon, event_id="c", recipient=LATE_LISTED),
    )
    go_to(harness, DAYS.at(4, NOON))
    assert await harness.bulk()
    assert await harness.settle()
    assert await harness.states_of([LATE, LATE_LISTED]) == ["accepted", "accepted"]

    go_to(harness, DAYS.at(5, NOON))
    at, listed = harness.clock(), {IN_TIME: "registered", LATE_LISTED: "registered"}
    await take(
        harness,
        answered(1, LATE, at),
        answered(2, LATE, at, message_class="delivery", reason="exempt"),
        answered(3, IN_TIME, at),
        list_receipt(4, listed, at),
    )

    go_to(harness, DAYS.at(6, NOON))
    await harness.ingest(given_at(DAYS.at(6, time(11)), event_id="d", recipient=EXPIRED))
    go_to(harness, DAYS.at(9, time(23, 59, 59)) + A_SECOND)
    assert await harness.scheduler.expire()
    assert await harness.states_of([EXPIRED]) == ["expired"]
    return listed


async def test_wrong_calendar_is_found_and_put_right(
    harness: SinkHarness, izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who was sent to is known; what had expired is registered; who must be asked again was; then
    ledger, İYS and the right answers agree.
    """
    listed = await live_two_weeks(harness)
    receipt = list_receipt(4, listed, DAYS.at(5, NOON))["receipt_id"]
    file = scrubbed(tmp_path, listed, receipt)

    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", closed(WRONG))
    asked = ("replay", "what-if", "--out", tmp_path / "calendar.csv", OLD, NEW)
    done = ended(await izin(*asked, "--list", file, "--output=json"), 1)
    result = json_of(done)
    counts = {(one["from"], one["to"]): one["recipients"] for one in result["counts"]}
    assert (counts["ONAY in-time", "ONAY too-late"], counts["ONAY expired", "ONAY open"]) == (2, 1)
    assert counts["yes: registered", "no: void"] == 2
    assert result["sent_by_wrong_answers"] == 2
    assert {one["recipient"] for one in sent(Path(result["file"]))} == {"+90***02", "+90***03"}
    assert len(result["next_steps"]) == 3
    await assert_shown(izin, asked, tmp_path, file, receipt)

    await put_right(harness, izin, monkeypatch)

    since = harness.clock()
    await take(
        harness,
        answered(5, EXPIRED, since),
        answered(6, LATE_LISTED, since, may_send=False, reason="opted-out"),
    )
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", closed(WRONG))
    again = ("replay", "what-if", "--out", tmp_path / "after.csv", OLD, NEW)
    left = ended(await izin(*again, f"--since={since.isoformat()}", "--output=json"), 0)
    found = json_of(left)
    assert (found["sent_by_wrong_answers"], found["withheld_by_wrong_answers"]) == (0, 0)
    answers = [(one["from"], one["to"]) for one in found["counts"] if one["change"] == "answer"]
    assert answers == [("no: void", "yes: registered")]
    await assert_agreement(harness)


def sent(table: Path) -> list[dict[str, str]]:
    """Return the changes of a table that are a yes that somebody got and should not."""
    with table.open(encoding="utf-8", newline="") as lines:
        return [one for one in csv.DictReader(lines) if one["change"] == "sent"]


async def assert_shown(
    izin: Izin, asked: tuple[object, ...], folder: Path, file: Path, receipt: str
) -> None:
    """Run the same command again: it prints the same, and whole recipients are in a file for its
    owner alone. Another list is refused.
    """
    again = await izin(*asked, "--list", file, "--unmasked")
    assert (again.exit_code, "no: void" in again.stdout) == (1, True)
    assert LATE not in again.stdout + again.stderr
    assert "izin deadlines recount-terms" in again.stderr
    table = folder / "calendar.csv"
    assert LATE in table.read_text("utf-8")
    assert table.stat().st_mode & 0o077 == 0
    assert "sent by wrong answers: 2" in again.stderr
    changed = scrubbed(folder, {IN_TIME: "registered", LATE_LISTED: "opted-out"}, receipt)
    parted = ("replay", "what-if", "--out", folder / "parted.csv", OLD, "--list", changed)
    refused = await izin(*parted)
    receipt_path(changed).unlink()
    ended(await izin(*parted), 3, "beside it")
    assert (refused.exit_code, "digest differs" in refused.stderr) == (3, True)
    assert not (folder / "parted.csv").exists()


async def put_right(harness: SinkHarness, izin: Izin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart the sink with the right calendar, count terms again, and ask who must be asked."""
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", closed(RIGHT))
    harness.ledger.calendar = Calendar(extra_closed_days=frozenset({RIGHT}))
    dry = await izin("deadlines", "recount-terms", "--output=json")
    assert json_of(dry)["brands"][0] == {
        "brand_code": BRAND,
        "records": 1,
        "sooner": 0,
        "later": 1,
        "extended": 1,
        "expired": 0,
    }
    assert await harness.states_of([EXPIRED]) == ["expired"]
    assert (await izin("deadlines", "recount-terms", "--execute")).exit_code == 0
    assert await harness.columns("state", "action", recipient=EXPIRED) == ("pending", "send")

    go_to(harness, datetime.now(UTC) + timedelta(seconds=2))
    now = harness.clock().replace(microsecond=0)
    withdrawn = {"status": "RET", "source": "HS_KARAR"}
    await harness.ingest(
        given_at(now, event_id="e", recipient=LATE, **withdrawn),
        given_at(now, event_id="f", recipient=LATE_LISTED, **withdrawn),
    )
    while await harness.opt_out():
        pass
    harness.advance(A_SECOND * 2)
    again = harness.clock().replace(microsecond=0)
    await harness.ingest(given_at(again, event_id="g", recipient=LATE))
    while await harness.bulk():
        pass
    assert await harness.settle()
    while await harness.settle():  # what is overdue by today's date goes in a batch of its own
        pass
    assert set(await harness.states_of([LATE, LATE_LISTED, EXPIRED])) == {"accepted"}


async def assert_agreement(harness: SinkHarness) -> None:
    """Ledger and İYS hold the same, what is permitted is so, and the history is whole."""
    recipients = [IN_TIME, LATE, LATE_LISTED, EXPIRED]
    rows = [await harness.row(one) for one in recipients]
    held = harness.iys.register()
    assert [one.registered for one in rows] == [held[one] for one in recipients]
    assert [one.may_send for one in rows] == [True, True, False, True]
    assert not (await verify.verify(harness.ledger, [])).faults
