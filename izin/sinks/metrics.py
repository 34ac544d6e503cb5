"""What the sink worker counts, and what it shows of the ledger, in Prometheus' form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from izin.consent.forecast import Forecast
    from izin.sinks.ledger.reads import Lag
    from izin.sinks.ledger.sequences import Missing


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

    def show_missing(self, missing: Iterable[Missing]) -> None:
        """Show what is ``missing`` now; what has come meanwhile is shown no more."""
        self._gaps.clear()
        self._missing.clear()
        for one in missing:
            self._gaps.labels(one.customer_id, one.origin).set(one.gaps)
            self._missing.labels(one.customer_id, one.origin).set(one.numbers)

    def called(self, operation: str, code: str) -> None:
        """Count a call to İYS and what came of it."""
        self._calls.labels(operation, code).inc()

    def show(self, lag: Lag, ahead: Forecast) -> None:
        """Show what is still to be done, and what becomes of it."""
        for name in (
            "to_tell",
            "opt_outs",
            "in_flight",
            "awaiting_result",
            "unknown",
            "to_ask",
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
