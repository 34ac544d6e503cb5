"""What one HTTP server takes on at once, and how long a client may take; each excess is counted."""

from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge

RETRY_AFTER = {"Retry-After": "1"}
"""A request takes milliseconds, so there is soon room again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """The limits of one server; times are in seconds."""

    connections: int = 2048
    """Open connections; one more, and the idlest is closed. Above ``requests``: a connection whose
    request is being processed is never closed for another."""
    requests: int = 1024
    """Requests in progress. One client may have as many as are still free, so half of them if it is
    alone, and there is always room for one more client."""
    head_within: float = 10.0
    """Until the request line and all headers are there, from the connection or the first byte."""
    idle_for: float = 5.0
    """Between two requests of a connection."""
    body_within: float = 15.0
    """Until all of the body is there."""
    request_within: float = 60.0
    """From the head of a request until the client has taken the whole response."""


class Refused(StrEnum):
    """Why a request was refused or a connection was closed."""

    FULL = "full"
    CLIENT = "client"
    KEY = "key"
    CONNECTIONS = "connections"
    EVICTED = "evicted"
    HEAD = "slow-head"
    BODY = "slow-body"
    REQUEST = "slow-request"


class HttpMetrics:
    """The metrics of one server's limits."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "izin_http_refused",
            "Requests refused and connections closed by a limit of the HTTP server, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in Refused:
            self._refused.labels(reason)
        self.connections = Gauge(
            "izin_http_connections", "Open HTTP connections.", registry=registry
        )
        self.requests = Gauge(
            "izin_http_requests", "HTTP requests in progress, but for health.", registry=registry
        )

    def refused(self, reason: Refused) -> None:
        """Count what a limit refused."""
        self._refused.labels(reason).inc()
