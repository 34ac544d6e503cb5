"""The error rate of a client: too many failures remove its address from the whitelist.

With 20,000 or more requests in the last 24 hours of which fewer than 70 % succeed, a client gets a
notice; if this lasts for 96 hours, İYS removes its address from the whitelist. Failures are those
that the client causes: 400, 401, 403, 404 and 422.
"""

from collections import deque
from typing import Final

from iys_simulator.settings import Settings

FAILURES: Final = frozenset(["400", "401", "403", "404", "422"])
_BUCKET: Final = 3600.0
_BUCKETS: Final = 24

_Bucket = tuple[int, int, int]  # its number, requests, failures


class ErrorRate:
    """Counts requests and failures of each client by the hour."""

    def __init__(self) -> None:
        self._buckets: dict[str, deque[_Bucket]] = {}
        self._notified_at: dict[str, float] = {}
        self._removed: set[str] = set()

    def record(self, client: str, now: float, status: str, settings: Settings) -> None:
        """Count one response at `now` (epoch seconds) and update the client's status."""
        if not settings.quality_requests:
            return
        number = int(now // _BUCKET)
        buckets = self._buckets.setdefault(client, deque())
        if not buckets or buckets[-1][0] != number:
            buckets.append((number, 0, 0))
        last = buckets[-1]
        buckets[-1] = (number, last[1] + 1, last[2] + (status in FAILURES))
        while buckets[0][0] <= number - _BUCKETS:
            buckets.popleft()
        if not self._is_bad(client, settings):
            self._notified_at.pop(client, None)
        elif now - self._notified_at.setdefault(client, now) >= settings.quality_grace:
            self._removed.add(client)

    def is_removed(self, client: str) -> bool:
        """Return whether the client's address is removed from the whitelist."""
        return client in self._removed

    def remove(self, client: str) -> None:
        """Take an address off the whitelist, as whoever manages it at İYS may."""
        self._removed.add(client)

    def readmit(self, client: str) -> None:
        """Put an address back on the whitelist and reset its counts."""
        self._removed.discard(client)
        self._notified_at.pop(client, None)
        self._buckets.pop(client, None)

    def as_list(self) -> list[dict[str, object]]:
        """Return requests, success rate, time of the notice and removal of each client."""
        clients: list[dict[str, object]] = []
        for client in self._buckets:
            total, failures = self._totals(client)
            clients.append(
                {
                    "client": client,
                    "requests": total,
                    "successRate": round(1 - failures / total, 4),
                    "noticeSince": self._notified_at.get(client),
                    "isRemoved": client in self._removed,
                }
            )
        return clients

    def clear(self) -> None:
        """Forget all clients."""
        self._buckets.clear()
        self._notified_at.clear()
        self._removed.clear()

    def _is_bad(self, client: str, settings: Settings) -> bool:
        total, failures = self._totals(client)
        enough = total >= settings.quality_requests
        return enough and (total - failures) / total < settings.quality_rate

    def _totals(self, client: str) -> tuple[int, int]:
        buckets = self._buckets[client]
        return sum(bucket[1] for bucket in buckets), sum(bucket[2] for bucket in buckets)
