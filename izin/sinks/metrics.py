"""What the sink worker counts, and what it shows of the ledger, in Prometheus' form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

if TYPE_CHECKING:
    from izin.consent.forecast import Forecast
    from izin.sinks.ledger.reads import Lag


class Metrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pushed = Counter(
            "izin_pushed_movements", "Movements İYS pushed", registry=self.registry
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
