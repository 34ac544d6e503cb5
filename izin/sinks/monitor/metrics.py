"""What the sink worker counts, and what it shows of the ledger, in Prometheus' form."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from izin.consent.forecast import DueGroup, Forecast
from izin.iys.rate_limit.reputation import STATUS
from izin.iys.tokens.token_policy import TokenPolicy
from izin.sinks.ledger.deadlines import Margin
from izin.sinks.ledger.rate_limits import HOUR_LIMITS, Address
from izin.sinks.ledger.reads import Lag
from izin.sinks.ledger.sequences import Missing
from izin.sinks.ledger.stream_progress import StreamProgress
from izin.sinks.monitor.deadlines import STAGES

_LANES = {"RET": "opt-outs", "ONAY": "consents"}


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pushed = Counter(
            "izin_pushed_movements", "Movements İYS pushed", registry=self.registry
        )
        self._calls = Counter(
            "izin_iys_calls",
            "Calls to İYS, by operation and code",
            ["operation", "code"],
            registry=self.registry,
        )
        self._unforeseen = Counter(
            "izin_iys_field_faults",
            "Faults of a field that İYS found and we did not, by code",
            ["code"],
            registry=self.registry,
        )
        self._owed = Gauge(
            "izin_ledger_keys",
            "Keys still owed to İYS, by what they wait for",
            ["waits_for"],
            registry=self.registry,
        )
        self._outbox = Gauge("izin_outbox_rows", "Rows that wait for Kafka", registry=self.registry)
        self._overdue = Gauge(
            "izin_overdue_keys", "Keys past the third business day", registry=self.registry
        )

        self._late = Gauge(
            "izin_forecast_late_keys",
            "Keys that will be told after they are due, at the pace İYS allows",
            registry=self.registry,
        )
        self._lost = Gauge(
            "izin_forecast_lost_keys",
            "Consents that will expire before they can be told, at the pace İYS allows",
            registry=self.registry,
        )

        self._kept = Gauge(
            "izin_kept_keys",
            "Keys that a stop or a stopped brand keeps from İYS, by lane",
            ["lane"],
            registry=self.registry,
        )
        self._backlog = Gauge(
            "izin_backlog_keys",
            "Keys not settled with İYS, by brand and lane",
            ["brand", "lane"],
            registry=self.registry,
        )
        self._oldest = Gauge(
            "izin_backlog_oldest_seconds",
            "Since when the oldest of what is not settled was said, by lane",
            ["lane"],
            registry=self.registry,
        )
        self._margin = Gauge(
            "izin_deadline_margin_seconds",
            "Until the first of what is not settled is due, by lane; below 0: missed",
            ["lane"],
            registry=self.registry,
        )
        self._passed = Gauge(
            "izin_deadline_keys",
            "Keys not settled, by lane and how much of their term has passed",
            ["lane", "passed"],
            registry=self.registry,
        )
        self._left = Gauge(
            "izin_budget_left",
            "What is left of an address's budget: calls of the hour, and the day's success rate",
            ["address", "budget"],
            registry=self.registry,
        )
        self._stale = Gauge(
            "izin_stream_unheard_seconds",
            "Since when a stream of İYS's was not read to its end, by brand and stream",
            ["brand", "stream"],
            registry=self.registry,
        )
        self._gaps = Gauge(
            "izin_sequence_gaps",
            "Gaps in the running numbers of an origin that nothing has closed in time",
            ["customer", "origin"],
            registry=self.registry,
        )
        self._missing = Gauge(
            "izin_sequence_missing_events",
            "Events that never came, by the running numbers of their origin",
            ["customer", "origin"],
            registry=self.registry,
        )

    def show_streams(self, heard: Iterable[StreamProgress], *, now: datetime) -> None:
        """Show how long ago each stream of İYS's was read to its end."""
        self._stale.clear()
        for one in heard:
            age = (now - one.last_pulled_at).total_seconds()
            self._stale.labels(one.brand_code, one.stream).set(age)

    def show_missing(self, missing: Iterable[Missing]) -> None:
        """Show what is ``missing`` now; what has come meanwhile is shown no more."""
        self._gaps.clear()
        self._missing.clear()
        for one in missing:
            self._gaps.labels(one.customer_id, one.origin).set(one.gaps)
            self._missing.labels(one.customer_id, one.origin).set(one.numbers)

    def show_deadlines(self, margins: Sequence[Margin], *, now: datetime) -> None:
        """Show what is not settled, by lane: opt-outs, or consents."""
        for gauge in (self._backlog, self._oldest, self._margin, self._passed):
            gauge.clear()
        for status, lane in _LANES.items():
            mine = [one for one in margins if one.status == status]
            for one in mine:
                self._backlog.labels(one.brand_code, lane).inc(one.keys)
            for stage in STAGES:
                passed = sum(getattr(one, stage) for one in mine)
                self._passed.labels(lane, stage.removeprefix("past_")).set(passed)
            if mine:
                age = now - min(one.oldest_at for one in mine)
                self._oldest.labels(lane).set(age.total_seconds())
            due = [one.first_due_at for one in mine if one.first_due_at is not None]
            if due:
                self._margin.labels(lane).set((min(due) - now).total_seconds())

    def show_suspended(self, held: Iterable[DueGroup]) -> None:
        """Show what is kept from İYS, by lane."""
        keys = dict.fromkeys(_LANES, 0)
        for one in held:
            keys[str(one.status)] += one.count
        for status, lane in _LANES.items():
            self._kept.labels(lane).set(keys[status])

    def show_rate_limits(self, addresses: Iterable[Address]) -> None:
        """Show what is left of each address's budget."""
        self._left.clear()
        for one in addresses:
            status = HOUR_LIMITS[STATUS].calls - one.status_calls
            self._left.labels(one.address, "status-calls-of-the-hour").set(status)
            token = TokenPolicy().calls_per_hour - one.token_calls
            self._left.labels(one.address, "token-calls-of-the-hour").set(token)
            success = 1 - one.failures / one.calls if one.calls else 1.0
            self._left.labels(one.address, "success-of-the-day").set(success)
            self._left.labels(one.address, "pace").set(one.factor)

    def called(self, operation: str, code: str) -> None:
        """Count a call to İYS and what came of it."""
        self._calls.labels(operation, code).inc()

    def unforeseen(self, code: str) -> None:
        """Count a fault of a field that İYS found and we did not."""
        self._unforeseen.labels(code).inc()

    def show(self, lag: Lag, ahead: Forecast) -> None:
        """Show what is still to be done, and what becomes of it."""
        for name in (
            "to_send",
            "opt_outs",
            "in_flight",
            "awaiting_result",
            "unknown",
            "to_query",
            "waiting",
            "parked",
        ):
            self._owed.labels(name).set(getattr(lag, name))
        self._outbox.set(lag.outbox)
        self._overdue.set(lag.overdue)
        self._late.set(ahead.late)
        self._lost.set(ahead.lost)

    def page(self) -> bytes:
        """Return the metrics as text."""
        return generate_latest(self.registry)
