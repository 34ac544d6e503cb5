"""The metrics of the feeds, by feed."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class FeedMetrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "izin_feeds_requests",
            "Requests to a feed, by HTTP status.",
            ["feed", "status"],
            registry=self.registry,
        )
        self._items = Counter(
            "izin_feeds_items",
            "Items that were returned.",
            ["feed"],
            registry=self.registry,
        )
        self._waiting = Gauge(
            "izin_feeds_waiting",
            "Requests that wait for a record, or for what a token names.",
            ["feed"],
            registry=self.registry,
        )

    def answered(self, feed: str, status: int) -> None:
        """Count a request by its status."""
        self._requests.labels(feed, str(status)).inc()

    def returned(self, feed: str, items: int) -> None:
        """Count the items of a page."""
        self._items.labels(feed).inc(items)

    def waiting(self, feed: str) -> Gauge:
        """Return the gauge of the requests to ``feed`` that wait."""
        return self._waiting.labels(feed)
