"""The metrics of a sink worker: its own counters, and gauges read from the ledger.

The gauges are read every few seconds, however often they are scraped; with a large backlog less
often, for they count all that is not settled. Beside them it is watched whether the ledger and İYS
answer. They have connections of their own: neither scrapes nor health checks may take one of the
workers.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from izin.consent import IzinError
from izin.consent.forecast import DueGroup, Forecast, forecast
from izin.iys.client import IysClient
from izin.iys.rate_limit import HISTORY, STATUS
from izin.iys.tokens import TokenPolicy
from izin.kafka.broker_watch import TIMEOUT, AnswerWatch
from izin.ledger import reads, sequences, stream_progress
from izin.ledger.automatic_suspension import decisions
from izin.ledger.daily import files
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import HOUR_LIMITS, Address, addresses
from izin.ledger.registry import complaints, granted
from izin.ledger.sweep import sweeps
from izin.runtime.settings import LedgerSettings
from izin.schemas.topics import Topics
from izin.sinks.monitor.alerts import STAGES

_LANES = {"RET": "opt-outs", "ONAY": "consents"}
_GAUGES: Mapping[str, tuple[str, Sequence[str]]] = {
    "izin_ledger_keys": ("Keys with something due to İYS, by what they wait for", ["waits_for"]),
    "izin_outbox_rows": ("Rows of the outbox that wait for Kafka", []),
    "izin_overdue_keys": ("Keys past the third business day", []),
    "izin_forecast_late_keys": (
        "Keys that will be submitted after they are due, at the rate that İYS allows",
        [],
    ),
    "izin_forecast_lost_keys": (
        "Consents that will expire before they are submitted, at the rate that İYS allows",
        [],
    ),
    "izin_suspended_keys": ("Keys of suspended records or of a stopped brand, by lane", ["lane"]),
    "izin_held_back_keys": (
        "Opt-outs and opt-ins that are held back until a person decides, by brand and source",
        ["brand", "source"],
    ),
    "izin_backlog_keys": ("Keys not settled with İYS, by brand and lane", ["brand", "lane"]),
    "izin_backlog_oldest_seconds": ("Age of the oldest key not settled, by lane", ["lane"]),
    "izin_deadline_margin_seconds": (
        "Time until the first key not settled is due, by lane; below 0: missed",
        ["lane"],
    ),
    "izin_deadline_keys": (
        "Keys not settled, by lane and how much of their term has passed",
        ["lane", "passed"],
    ),
    "izin_rate_limit_left": (
        "What is left of an address's limits: calls of the hour, and the day's success rate",
        ["address", "limit"],
    ),
    "izin_address_delisted": (
        "1: İYS answers no call from an address any more; its brands are served from the others",
        ["address"],
    ),
    "izin_stream_stale_seconds": (
        "Time since a stream of İYS was pulled to its end, by brand and stream",
        ["brand", "stream"],
    ),
    "izin_granted_list_stale_seconds": (
        "Time since İYS's list of granted brands was read whole, by account; +Inf: it never was",
        ["account"],
    ),
    "izin_lost_rights": (
        "Channels of a brand that İYS does not let us write, or read any more, by right",
        ["brand", "right"],
    ),
    "izin_daily_files": (
        "İYS's daily files of the days that it still shows, by brand and state",
        ["brand", "state"],
    ),
    "izin_daily_file_differences": (
        "Lines of the same files that only one side has, by brand: iys or here",
        ["brand", "side"],
    ),
    "izin_sweep_keys": (
        "Keys of the open sweep of a brand, by what is done of them",
        ["brand", "done"],
    ),
    "izin_register_consents": (
        "Consents of a brand at the last daily count, by status and by who counts",
        ["brand", "status", "side"],
    ),
    "izin_sequence_gaps": (
        "Gaps in the sequence numbers of an origin that were not closed in time",
        ["customer", "origin"],
    ),
    "izin_complaints": ("Complaints that wait, by whether they are overdue", ["state"]),
    "izin_sequence_missing_events": (
        "Events that never arrived, by the sequence numbers of their origin",
        ["customer", "origin"],
    ),
}
"""The description and the labels of each gauge."""
Figures = Mapping[str, Sequence[tuple[Any, ...]]]
"""The values of gauges by name: of each value its labels, and behind them the number."""
_WAITS_FOR = (
    *("to_send", "opt_outs", "held_back", "in_flight", "awaiting_result", "unknown"),
    *("to_query", "waiting", "parked"),
)
_CONNECTIONS = 2
"""One for the figures, one for the watch."""
_REST = 20
"""Between two readings pass at least so many times the seconds that one takes."""


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = {
            name: Gauge(name, description, labels, registry=self.registry)
            for name, (description, labels) in _GAUGES.items()
        }
        self.read_at = Gauge(
            "izin_ledger_read_timestamp_seconds",
            "When the figures of the ledger were last read (Unix time)",
            registry=self.registry,
        )
        self.iys_unreachable = Gauge(
            "izin_iys_unreachable",
            "Whether İYS answers none of this process's calls: 1, else 0",
            registry=self.registry,
        )
        self.pushed = Counter(
            "izin_pushed_movements", "Movements that İYS pushed", registry=self.registry
        )
        self.push_unauthorized = Counter(
            "izin_push_unauthorized",
            "Pushes refused because their credentials were missing (as in İYS's test), or wrong",
            ["reason"],
            registry=self.registry,
        )
        self.calls = Counter(
            "izin_iys_calls",
            "Calls to İYS, by operation and code",
            ["operation", "code"],
            registry=self.registry,
        )
        self.unforeseen = Counter(
            "izin_iys_field_faults",
            "Faults of a field that İYS found and our validation did not, by code",
            ["code"],
            registry=self.registry,
        )

    def show(self, figures: Figures) -> None:
        """Show what gauges have now, and nothing else of them: the values of each, its labels and
        behind them the number. Numbers of the same labels are added.
        """
        for name, values in figures.items():
            gauge = self._gauges[name]
            gauge.clear()
            for *labels, value in values:
                if labels:
                    gauge.labels(*labels).inc(value)
                else:
                    gauge.set(value)


def backlog_figures(
    lag: reads.Lag,
    suspended: Iterable[DueGroup],
    ahead: Forecast,
    automatic: Iterable[decisions.AutomaticSuspension] = (),
) -> Figures:
    """Return what is still due to İYS, what is kept back, and the forecast."""
    return {
        "izin_ledger_keys": [(name, getattr(lag, name)) for name in _WAITS_FOR],
        "izin_outbox_rows": [(lag.outbox,)],
        "izin_overdue_keys": [(lag.overdue,)],
        "izin_forecast_late_keys": [(ahead.late,)],
        "izin_forecast_lost_keys": [(ahead.lost,)],
        "izin_suspended_keys": [
            *((lane, 0) for lane in _LANES.values()),
            *((_LANES[str(group.status)], group.count) for group in suspended),
        ],
        "izin_held_back_keys": [
            (suspension.brand_code, suspension.source, suspension.held_back)
            for suspension in automatic
        ],
    }


def deadline_figures(margins: Sequence[reads.Margin], *, now: datetime) -> Figures:
    """Return what is not settled, by lane: opt-outs, or consents."""
    lanes = {
        lane: [margin for margin in margins if margin.status == status]
        for status, lane in _LANES.items()
    }
    due = {
        lane: [one.first_due_at for one in mine if one.first_due_at] for lane, mine in lanes.items()
    }
    return {
        "izin_backlog_keys": [
            (one.brand_code, lane, one.keys) for lane, mine in lanes.items() for one in mine
        ],
        "izin_deadline_keys": [
            (lane, stage.removeprefix("past_"), sum(getattr(one, stage) for one in mine))
            for lane, mine in lanes.items()
            for stage in STAGES
        ],
        "izin_backlog_oldest_seconds": [
            (lane, (now - min(one.oldest_at for one in mine)).total_seconds())
            for lane, mine in lanes.items()
            if mine
        ],
        "izin_deadline_margin_seconds": [
            (lane, (min(ends) - now).total_seconds()) for lane, ends in due.items() if ends
        ],
    }


def account_figures(
    addresses: Iterable[Address] = (),
    streams: Iterable[stream_progress.PulledStream] = (),
    lists: Iterable[granted.ListReading] = (),
    lost: Iterable[granted.LostRight] = (),
    *,
    now: datetime,
) -> Figures:
    """Return what is left of each address's limits, how long ago streams and lists of rights were
    read whole, and the rights that are lost.
    """
    token_calls = TokenPolicy().calls_per_hour
    return {
        "izin_rate_limit_left": [
            (address.address, limit, left)
            for address in addresses
            for limit, left in (
                ("status-calls-of-the-hour", HOUR_LIMITS[STATUS].calls - address.status_calls),
                ("histories-of-the-hour", HOUR_LIMITS[HISTORY].calls - address.history_calls),
                ("token-calls-of-the-hour", token_calls - address.token_calls),
                (
                    "success-of-the-day",
                    1 - address.failures / address.calls if address.calls else 1.0,
                ),
                ("pace", address.factor),
            )
        ],
        "izin_address_delisted": [
            (address.address, address.delisted_at is not None) for address in addresses
        ],
        "izin_stream_stale_seconds": [
            (stream.brand_code, stream.stream, (now - stream.last_pulled_at).total_seconds())
            for stream in streams
        ],
        "izin_granted_list_stale_seconds": [
            (reading.account, (now - reading.read_at).total_seconds() if reading.read_at else inf)
            for reading in lists
            if reading.tried_at is not None
        ],
        "izin_lost_rights": [(one.brand_code, one.right, 1) for one in lost],
    }


def register_figures(
    daily: Sequence[files.StateCount] = (),
    latest: Iterable[sweeps.Sweep] = (),
    counts: Iterable[sweeps.RegisterCount] = (),
) -> Figures:
    """Return how İYS's register and ours compare: daily files, open sweeps, counts."""
    return {
        "izin_daily_files": [(one.brand_code, one.state, one.files) for one in daily],
        "izin_daily_file_differences": [
            (one.brand_code, side, lines)
            for one in daily
            for side, lines in (("iys", one.only_at_iys), ("here", one.only_here))
        ],
        "izin_sweep_keys": [
            (sweep.brand_code, done, keys)
            for sweep in latest
            if sweep.ended_at is None
            for done, keys in (
                ("queried", sweep.counts.queried),
                ("left", max(sweep.keys - sweep.counts.queried, 0)),
            )
        ],
        "izin_register_consents": [
            (one.brand_code, status, side, count)
            for one in counts
            for status, side, count in (
                ("ONAY", "iys", one.iys_onay),
                ("ONAY", "ours", one.onay),
                ("RET", "iys", one.iys_ret),
                ("RET", "ours", one.ret),
            )
        ],
    }


def source_figures(
    missing: Sequence[sequences.Missing] = (), complained: complaints.ComplaintCounts | None = None
) -> Figures:
    """Return the gaps in what origins number, and the complaints that wait."""
    return {
        "izin_sequence_gaps": [(one.customer_id, one.origin, one.gaps) for one in missing],
        "izin_sequence_missing_events": [
            (one.customer_id, one.origin, one.numbers) for one in missing
        ],
        "izin_complaints": [] if complained is None else list(asdict(complained).items()),
    }


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
            await asyncio.sleep(max(self.interval.total_seconds(), _REST * (self.timer() - began)))

    async def read(self) -> None:
        """Read all figures once, and then show them together."""
        now, ledger = self.clock(), self.ledger
        backlog = await reads.backlog(ledger)
        ahead = forecast(backlog.ready, now=now, records_per_second=self.records_per_second)
        lag, automatic = await reads.lag(ledger, now=now), await decisions.undecided(ledger)
        figures = (
            backlog_figures(lag, backlog.suspended, ahead, automatic),
            deadline_figures(await reads.margins(ledger, now=now), now=now),
            account_figures(
                await addresses(ledger),
                await stream_progress.read(ledger),
                await granted.readings(ledger),
                await granted.lost_rights(ledger),
                now=now,
            ),
            register_figures(
                await files.states(ledger, now=now),
                await sweeps.latest(ledger),
                await sweeps.latest_counts(ledger),
            ),
            source_figures(
                await sequences.missing(ledger, self.topics),
                await complaints.counts(ledger, now=now),
            ),
        )
        for some in figures:
            self.metrics.show(some)
        self.metrics.read_at.set(now.timestamp())


@asynccontextmanager
async def monitored_ledger(settings: LedgerSettings) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Provide the ledger of a process, and beside it one of a few connections for what watches
    it; both are of one owner.

    Raises:
        LedgerUnavailableError: PostgreSQL cannot be reached.
    """
    owner = secrets.randbelow(2**31 - 1) + 1
    few = settings.model_copy(update={"pool_size": _CONNECTIONS})
    async with Ledger(settings, owner=owner) as ledger, Ledger(few, owner=owner) as monitored:
        yield ledger, monitored


class LedgerWatch(AnswerWatch):
    """Asks PostgreSQL whether it answers."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__("ledger", time.monotonic)
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
        self._is_urgent = await reads.has_opt_outs(self._ledger)
        return "it answers no call"
