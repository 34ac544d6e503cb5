"""The metrics of the intake: requests by status, records by outcome, response times, clock skew."""

from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)


class IntakeMetrics:
    """The intake's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "izin_intake_requests",
            "Requests to the intake, by HTTP status.",
            ["status"],
            registry=self.registry,
        )
        self._records = Counter(
            "izin_intake_records",
            "Records posted to the intake, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "izin_intake_request_seconds",
            "Response time of requests to the intake; a 202 includes Kafka's acknowledgement.",
            buckets=_BUCKETS,
            registry=self.registry,
        )

        self._skew = Gauge(
            "izin_intake_clock_skew_seconds",
            "How far this clock is ahead of Kafka's, as far as append times prove it; negative: "
            "behind.",
            registry=self.registry,
        )

    def answered(self, status: int, seconds: float) -> None:
        """Count a request by its status."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def validated(self, *, published: int, postponed: int, refused: int) -> None:
        """Count the records of a request by outcome."""
        self._records.labels("published").inc(published)
        self._records.labels("postponed").inc(postponed)
        self._records.labels("refused").inc(refused)

    def measured(self, skew: timedelta) -> None:
        """Set the clock skew."""
        self._skew.set(skew.total_seconds())
