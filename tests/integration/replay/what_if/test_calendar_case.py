"""The worked case of docs/replaying.md: a wrong calendar for two weeks, found and put right.

The sinks of three weeks ago, when it was wrong, and the business days up to today.
"""

import csv
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from izin.cli.sending.scrubbing import (
    FileMark,
    ScrubColumns,
    ScrubQuestion,
    ScrubTally,
    receipt_path,
)
from izin.cli.terminal import exit_codes
from izin.consent import (
    TURKEY,
    Calendar,
    Channel,
    MessageClass,
    RecipientType,
    add_business_days,
    is_business_day,
)
from izin.ledger.history import append, entries_of, verify
from izin.runtime.settings import LedgerSettings
from izin.schemas.consistency_token import token_of
from izin.schemas.may_send_api import digest_line
from izin.subscribers import GateAnswer
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    Clock,
    Izin,
    SinkHarness,
    a_phone,
    ended,
    given_at,
)
from tests.support.builders import BRAND, a_key
from tests.support.published import a_decision_receipt, a_receipt
from tests.support.simulator import SimulatorAdmin


class PastClock(Clock):
    """A clock that began in the past."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.ahead = self.began = at - self()

    def seconds_ahead(self) -> float:
        """Return how far a test has advanced the clock since it began, in seconds."""
        return (self.ahead - self.began).total_seconds()


@pytest.fixture
def clock() -> PastClock:
    """Give a clock that shows noon of the first day of the case."""
    return PastClock(DAYS.at(0, NOON))


@pytest.fixture
def iys(iys: SimulatorAdmin, clock: PastClock) -> SimulatorAdmin:
    """Give İYS at the same time. It accepts consents of any date: how it counts is not published,
    and here it counts as the wrong calendar does.
    """
    iys.post("clock", offset=clock.ahead.total_seconds())
    iys.brand(activatedAt=None)
    return iys


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands handle no signals: they run in a thread beside the sinks."""
    monkeypatch.setattr(exit_codes, "_NUMBERS", ())


@pytest.fixture
def ledger_settings(database_url: str) -> LedgerSettings:
    """Give settings with the wrong calendar."""
    return LedgerSettings(database_url=database_url, extra_closed_days=(DAYS.day(2),))


NOON = time(12)


@dataclass(frozen=True)
class BusinessDays:
    """Days by their number: 9 is the last business day before today, 10 the one after it."""

    today: date

    def day(self, number: int) -> date:
        """Return the day of a number from 0 to 10."""
        before = (self.today - timedelta(days=back) for back in range(1, 60))
        last = list(islice(filter(is_business_day, before), 10))
        return last[9 - number] if number < len(last) else add_business_days(last[0], 1)

    def at(self, number: int, hour: time) -> datetime:
        """Return an instant of a day, in Turkish time."""
        return datetime.combine(self.day(number), hour, TURKEY).astimezone(UTC)


DAYS = BusinessDays(datetime.now(TURKEY).date())
WRONG, RIGHT = DAYS.day(2), DAYS.day(8)
"""The day that was closed by mistake, and the one that should have been."""


def closed(*days: date) -> str:
    """Return days as IZIN_EXTRA_CLOSED_DAYS has them."""
    return json.dumps([day.isoformat() for day in days])


def go_to(sinks: SinkHarness, at: datetime) -> None:
    """Advance both clocks to an instant."""
    sinks.advance(at - sinks.clock())


async def take(sinks: SinkHarness, *receipts: dict[str, Any]) -> None:
    """Take receipts of the gate into the history, as the sink does."""
    async with sinks.ledger.transaction() as connection:
        entries = [one for it in receipts for one in entries_of(it)]
        await append.append(connection, entries, now=sinks.clock())


def answered(number: int, recipient: str, at: datetime, **fields: object) -> dict[str, Any]:
    """Return the receipt of a yes for one recipient."""
    given = {"reason": "registered", "message_class": "commercial", "reasons": {"registered": 1}}
    return a_decision_receipt(number, recipient=recipient, asked_at=at, **given | fields)


def scrubbed(folder: Path, answers: dict[str, str], receipt_id: str) -> Path:
    """Write a file as izin scrub does, with these reasons by recipient, and its receipt."""
    path = folder / "spring.scrubbed.csv"
    rows = [f"{one},{'yes' if why == 'registered' else 'no'},{why}" for one, why in answers.items()]
    path.write_text("\n".join(["telefon,may_send,reason", *rows, ""]), "utf-8")
    tally = ScrubTally()
    tally.asked(GateAnswer(as_of=token_of([]), receipt=receipt_id, verdicts=()))
    question = ScrubQuestion(
        brand_code=BRAND,
        type=Channel.MESAJ,
        recipient_type=RecipientType.BIREYSEL,
        message_class=MessageClass.COMMERCIAL,
        basis=None,
        campaign="spring",
        retailer_code=None,
    )
    tally.receipt(
        question,
        source=FileMark.of(path),
        result=FileMark.of(path),
        columns=ScrubColumns(recipient="telefon", may_send="may_send", reason="reason"),
        asked_at=datetime.now(UTC),
    ).write(receipt_path(path))
    return path


def list_receipt(number: int, answers: dict[str, str], at: datetime) -> dict[str, Any]:
    """Return the receipt of a list with these reasons by recipient."""
    hashed = hashlib.sha256()
    for recipient, reason in answers.items():
        hashed.update(digest_line(str(a_key(recipient=recipient)), reason))
    return a_receipt(
        number, recipients=len(answers), digest=hashed.hexdigest(), asked_at=at, reasons={}
    )


def json_of(result: Result) -> dict[str, Any]:
    """Return what a command printed as JSON."""
    return dict(json.loads(result.stdout))


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
    result = json_of(ended(await izin(*asked, "--list", file, "--output=json"), 1))
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
    left = await izin(*again, f"--since={since.isoformat()}", "--output=json")
    found = json_of(ended(left, 0))
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
    said = ("izin deadlines recount-terms", "sent by wrong answers: 2")
    again = ended(await izin(*asked, "--list", file, "--unmasked"), 1, *said)
    assert ("no: void" in again.stdout, LATE in again.output) == (True, False)
    table = folder / "calendar.csv"
    assert LATE in table.read_text("utf-8")
    assert table.stat().st_mode & 0o077 == 0
    changed = scrubbed(folder, {IN_TIME: "registered", LATE_LISTED: "opted-out"}, receipt)
    parted = ("replay", "what-if", "--out", folder / "parted.csv", OLD, "--list", changed)
    ended(await izin(*parted), 3, "digest differs")
    receipt_path(changed).unlink()
    ended(await izin(*parted), 3, "beside it")
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
