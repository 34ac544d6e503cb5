"""The sinks three weeks ago, when a calendar was wrong: the business days up to today."""

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
    Channel,
    MessageClass,
    RecipientType,
    add_business_days,
    is_business_day,
)
from izin.ledger.history import append, entries_of
from izin.runtime.settings import LedgerSettings
from izin.schemas.consistency_token import token_of
from izin.schemas.may_send_api import digest_line
from izin.subscribers import GateAnswer
from tests.integration.conftest import (  # noqa: F401  # fixtures of the same sinks
    database_url,
    harness,
    iys as iys_today,  # as before
    iys_settings,
    izin,
    ledger,
)
from tests.integration.sinks.sink_harness import Clock, SinkHarness
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
def iys(iys_today: SimulatorAdmin, clock: PastClock) -> SimulatorAdmin:  # noqa: F811  # the fixture
    """Give İYS at the same time. It accepts consents of any date: how it counts is not published,
    and here it counts as the wrong calendar does.
    """
    iys_today.post("clock", offset=clock.ahead.total_seconds())
    iys_today.brand(activatedAt=None)
    return iys_today


@pytest.fixture(autouse=True)
def no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands handle no signals: they run in a thread beside the sinks."""
    monkeypatch.setattr(exit_codes, "_NUMBERS", ())


@pytest.fixture
def ledger_settings(database_url: str) -> LedgerSettings:  # noqa: F811  # the fixture
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
    found: dict[str, Any] = json.loads(result.stdout)
    return found
