"""Read the figures of the ledger for the metrics every few seconds, however often they are scraped,
and watch whether the ledger and İYS answer.

The figures count all that is not settled: with a large backlog they are read less often. They have
connections of their own: neither scrapes nor health checks may take one of the workers.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from izin.consent.errors import IzinError
from izin.consent.forecast import forecast
from izin.iys.client import IysClient
from izin.runtime.broker_watch import TIMEOUT, AnswerWatch
from izin.schemas.topics import Topics
from izin.sinks.ledger import deadlines, reads, sequences, stream_progress
from izin.sinks.ledger.brake import decisions
from izin.sinks.ledger.daily import files
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.granted import listing, readings
from izin.sinks.ledger.rate_limits import addresses
from izin.sinks.ledger.registry import complaints
from izin.sinks.ledger.sweep import register_counts, sweeps
from izin.sinks.monitor.metrics import Metrics

CONNECTIONS = 2
"""One for the figures, one for the watch."""
_REST = 20
"""Between two readings pass at least so many times the seconds that one takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFigures:
    """Keeps the gauges of ``metrics`` at what the ledger holds."""

    ledger: Ledger
    metrics: Metrics
    topics: Topics
    clock: Callable[[], datetime]
    records_per_second: float
    """What İYS's limits let us submit."""
    interval: timedelta
    timer: Callable[[], float] = time.monotonic

    async def run(self) -> None:
        """Read until cancelled; raises LedgerUnavailableError."""
        while True:
            began = self.timer()
            await self.read()
            took = self.timer() - began
            await asyncio.sleep(max(self.interval.total_seconds(), _REST * took))

    async def read(self) -> None:
        """Read all figures once, and then show them together."""
        now = self.clock()
        backlog = await reads.backlog(self.ledger)
        lag = await reads.lag(self.ledger, now=now)
        brakes = await decisions.undecided(self.ledger)
        margins = await deadlines.margins(self.ledger, now=now)
        limits = await addresses(self.ledger)
        progress = await stream_progress.read(self.ledger)
        lists = await readings.every(self.ledger)
        lost = await listing.lost_rights(self.ledger)
        daily = await files.states(self.ledger, now=now)
        swept = await sweeps.latest(self.ledger)
        counted = await register_counts.latest(self.ledger)
        missing = await sequences.missing(self.ledger, self.topics)
        complained = await complaints.counts(self.ledger, now=now)
        ahead = forecast(backlog.ready, now=now, records_per_second=self.records_per_second)
        self.metrics.show(lag, ahead)
        self.metrics.show_suspended(backlog.suspended)
        self.metrics.show_held_back(brakes)
        self.metrics.show_deadlines(margins, now=now)
        self.metrics.show_rate_limits(limits)
        self.metrics.show_streams(progress, now=now)
        self.metrics.show_granted(lists, lost, now=now)
        self.metrics.show_daily_files(daily)
        self.metrics.show_sweeps(swept)
        self.metrics.show_register(counted)
        self.metrics.show_missing(missing)
        self.metrics.show_complaints(complained)
        self.metrics.read_at.set(now.timestamp())


class LedgerWatch(AnswerWatch):
    """Asks PostgreSQL whether it answers."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("ledger", clock)
        self._ledger = ledger

    async def _request(self) -> str | None:
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._ledger.fetch("SELECT 1 AS one")
        except TimeoutError:
            return "no answer in time"
        except IzinError as error:
            return str(error)
        return None


class IysWatch(AnswerWatch):
    """Watches whether İYS answers the calls that a process makes anyway, and shows it in
    ``metrics``.

    While an opt-out is due, that needs a person: its three business days go on, and it may have to
    be withdrawn on İYS's own pages.
    """

    def __init__(self, client: IysClient, ledger: Ledger, metrics: Metrics) -> None:
        super().__init__("iys", time.monotonic)
        self._client, self._ledger, self._metrics = client, ledger, metrics

    async def _request(self) -> str | None:
        is_away = self._client.breakers.is_unreachable
        self._metrics.iys_unreachable.set(is_away)
        if not is_away:
            return None
        self._is_urgent = await deadlines.has_opt_outs(self._ledger)
        return "it answers no call"
