"""The metrics of a sink worker: its own counters, and gauges read from the ledger."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf

from prometheus_client import CollectorRegistry, Counter, Gauge

from izin.consent.forecast import DueGroup, Forecast
from izin.iys.rate_limit import STATUS
from izin.iys.tokens import TokenPolicy
from izin.sinks.ledger.brake.decisions import Brake
from izin.sinks.ledger.daily.files import StateCount
from izin.sinks.ledger.deadlines import Margin
from izin.sinks.ledger.granted.listing import LostRight
from izin.sinks.ledger.granted.readings import ListReading
from izin.sinks.ledger.rate_limits import HOUR_LIMITS, Address
from izin.sinks.ledger.reads import Lag
from izin.sinks.ledger.registry.complaints import ComplaintCounts
from izin.sinks.ledger.sequences import Missing
from izin.sinks.ledger.stream_progress import StreamProgress
from izin.sinks.ledger.sweep.register_counts import RegisterCount
from izin.sinks.ledger.sweep.sweeps import Sweep
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
        "Opt-outs and opt-ins that a brake holds back until a person decides, by brand and source",
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
        self._push_unauthorized = Counter(
            "izin_push_unauthorized",
            "Pushes refused because their credentials were missing (as in İYS's test), or wrong",
            ["reason"],
            registry=self.registry,
        )
        self._calls = Counter(
            "izin_iys_calls",
            "Calls to İYS, by operation and code",
            ["operation", "code"],
            registry=self.registry,
        )
        self._unforeseen = Counter(
            "izin_iys_field_faults",
            "Faults of a field that İYS found and our validation did not, by code",
            ["code"],
            registry=self.registry,
        )

    def show_streams(self, progress: Iterable[StreamProgress], *, now: datetime) -> None:
        """Show how long ago each stream of İYS was pulled to its end."""
        stale = self._gauges["izin_stream_stale_seconds"]
        stale.clear()
        for one in progress:
            age = (now - one.last_pulled_at).total_seconds()
            stale.labels(one.brand_code, one.stream).set(age)

    def show_granted(
        self, lists: Iterable[ListReading], lost: Iterable[LostRight], *, now: datetime
    ) -> None:
        """Show how long ago each list of rights was read whole, and the rights that are lost."""
        stale, rights = (
            self._gauges[name] for name in ("izin_granted_list_stale_seconds", "izin_lost_rights")
        )
        stale.clear()
        rights.clear()
        for one in lists:
            if one.tried_at is not None:
                age = inf if one.read_at is None else (now - one.read_at).total_seconds()
                stale.labels(one.account).set(age)
        for right in lost:
            rights.labels(right.brand_code, right.right).inc()

    def show_daily_files(self, counts: Iterable[StateCount]) -> None:
        """Show how far the daily files are, and how they differ from ours."""
        by_state = self._gauges["izin_daily_files"]
        differences = self._gauges["izin_daily_file_differences"]
        by_state.clear()
        differences.clear()
        for one in counts:
            by_state.labels(one.brand_code, one.state).set(one.files)
            differences.labels(one.brand_code, "iys").inc(one.only_at_iys)
            differences.labels(one.brand_code, "here").inc(one.only_here)

    def show_missing(self, missing: Iterable[Missing]) -> None:
        """Show the gaps that are open now, and no others."""
        gaps = self._gauges["izin_sequence_gaps"]
        events = self._gauges["izin_sequence_missing_events"]
        gaps.clear()
        events.clear()
        for one in missing:
            gaps.labels(one.customer_id, one.origin).set(one.gaps)
            events.labels(one.customer_id, one.origin).set(one.numbers)

    def show_complaints(self, counts: ComplaintCounts) -> None:
        """Show how many complaints are open, and how many of these overdue."""
        for name in ("open", "overdue"):
            self._gauges["izin_complaints"].labels(name).set(getattr(counts, name))

    def show_deadlines(self, margins: Sequence[Margin], *, now: datetime) -> None:
        """Show what is not settled, by lane: opt-outs, or consents."""
        backlog = self._gauges["izin_backlog_keys"]
        oldest = self._gauges["izin_backlog_oldest_seconds"]
        margin = self._gauges["izin_deadline_margin_seconds"]
        passed = self._gauges["izin_deadline_keys"]
        for gauge in (backlog, oldest, margin, passed):
            gauge.clear()
        for status, lane in _LANES.items():
            mine = [one for one in margins if one.status == status]
            for one in mine:
                backlog.labels(one.brand_code, lane).inc(one.keys)
            for stage in STAGES:
                keys = sum(getattr(one, stage) for one in mine)
                passed.labels(lane, stage.removeprefix("past_")).set(keys)
            if mine:
                age = now - min(one.oldest_at for one in mine)
                oldest.labels(lane).set(age.total_seconds())
            due = [one.first_due_at for one in mine if one.first_due_at is not None]
            if due:
                margin.labels(lane).set((min(due) - now).total_seconds())

    def show_suspended(self, suspended: Iterable[DueGroup]) -> None:
        """Show what is suspended, by lane."""
        keys = dict.fromkeys(_LANES, 0)
        for one in suspended:
            keys[str(one.status)] += one.count
        for status, lane in _LANES.items():
            self._gauges["izin_suspended_keys"].labels(lane).set(keys[status])

    def show_held_back(self, brakes: Iterable[Brake]) -> None:
        """Show what brakes hold back now, and nothing else."""
        gauge = self._gauges["izin_held_back_keys"]
        gauge.clear()
        for one in brakes:
            gauge.labels(one.brand_code, one.source).inc(one.held_back)

    def show_sweeps(self, latest: Iterable[Sweep]) -> None:
        """Show how far the open sweeps are, and nothing of others."""
        gauge = self._gauges["izin_sweep_keys"]
        gauge.clear()
        for one in latest:
            if one.ended_at is None:
                gauge.labels(one.brand_code, "queried").set(one.counts.queried)
                gauge.labels(one.brand_code, "left").set(max(one.keys - one.counts.queried, 0))

    def show_register(self, counts: Iterable[RegisterCount]) -> None:
        """Show what İYS counted last of each brand, and what was ours then."""
        gauge = self._gauges["izin_register_consents"]
        gauge.clear()
        for one in counts:
            for status, at_iys, ours in (
                ("ONAY", one.iys_onay, one.onay),
                ("RET", one.iys_ret, one.ret),
            ):
                gauge.labels(one.brand_code, status, "iys").set(at_iys)
                gauge.labels(one.brand_code, status, "ours").set(ours)

    def show_rate_limits(self, addresses: Iterable[Address]) -> None:
        """Show what is left of each address's limits."""
        left = self._gauges["izin_rate_limit_left"]
        left.clear()
        for one in addresses:
            status = HOUR_LIMITS[STATUS].calls - one.status_calls
            left.labels(one.address, "status-calls-of-the-hour").set(status)
            token = TokenPolicy().calls_per_hour - one.token_calls
            left.labels(one.address, "token-calls-of-the-hour").set(token)
            success = 1 - one.failures / one.calls if one.calls else 1.0
            left.labels(one.address, "success-of-the-day").set(success)
            left.labels(one.address, "pace").set(one.factor)

    def called(self, operation: str, code: str) -> None:
        """Count a call to İYS by its result."""
        self._calls.labels(operation, code).inc()

    def push_unauthorized(self, reason: str) -> None:
        """Count a push without accepted credentials: they were ``missing`` or ``wrong``."""
        self._push_unauthorized.labels(reason).inc()

    def unforeseen(self, code: str) -> None:
        """Count a fault of a field that İYS found and our validation did not."""
        self._unforeseen.labels(code).inc()

    def show(self, lag: Lag, ahead: Forecast) -> None:
        """Show what is still due to İYS, and the forecast of it."""
        for name in (
            "to_send",
            "opt_outs",
            "held_back",
            "in_flight",
            "awaiting_result",
            "unknown",
            "to_query",
            "waiting",
            "parked",
        ):
            self._gauges["izin_ledger_keys"].labels(name).set(getattr(lag, name))
        self._gauges["izin_outbox_rows"].set(lag.outbox)
        self._gauges["izin_overdue_keys"].set(lag.overdue)
        self._gauges["izin_forecast_late_keys"].set(ahead.late)
        self._gauges["izin_forecast_lost_keys"].set(ahead.lost)
