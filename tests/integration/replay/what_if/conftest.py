"""The sinks three weeks ago, when a calendar was wrong."""

from datetime import datetime

import pytest

from izin.cli.terminal import exit_codes
from izin.runtime.settings import LedgerSettings
from tests.integration.conftest import (  # noqa: F401  # fixtures of the same sinks
    database_url,
    harness,
    iys_settings,
    izin,
    ledger,
)
from tests.integration.conftest import iys as iys_today  # noqa: F401  # as before
from tests.integration.replay.what_if.calendar_case import DAYS, NOON
from tests.integration.sinks.sink_harness import Clock
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
