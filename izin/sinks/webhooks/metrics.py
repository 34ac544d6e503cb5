"""The metrics of a process that delivers webhooks, by subscriber."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 15, 60, 300, 3600, 86400)


class WebhookMetrics:
    """The metrics of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.attempts = Counter(
            "izin_webhook_attempts",
            "Requests to subscribers, by what came of them: taken, refused, or no reply",
            ["subscriber", "result"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "izin_webhook_delivery_seconds",
            "Time from a record's append to its topic until its subscriber took it",
            ["lane"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.waiting = Gauge(
            "izin_webhook_waiting",
            "Events that were read for a subscriber and not taken yet",
            ["subscriber"],
            registry=self.registry,
        )
        self.failing = Gauge(
            "izin_webhook_failing_seconds",
            "For how long a subscriber has not taken something that it was sent; 0: it takes all",
            ["subscriber"],
            registry=self.registry,
        )
        self.alerts = Gauge(
            "izin_webhook_alerts",
            "How many of the alerts about a failing subscriber were raised: 4 is the most urgent",
            ["subscriber"],
            registry=self.registry,
        )
        self.behind = Gauge(
            "izin_webhook_behind",
            "Whether a subscriber is behind the end of the topics: 1, or 0",
            ["subscriber"],
            registry=self.registry,
        )

    def forget(self, subscriber: str) -> None:
        """Remove the gauges of a subscriber that another process has, or that is paused."""
        for gauge in (self.waiting, self.failing, self.alerts, self.behind):
            if (subscriber,) in gauge._metrics:  # noqa: SLF001  # the library names no other way
                gauge.remove(subscriber)
