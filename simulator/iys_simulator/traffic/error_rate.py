"""The quality of a client's traffic: who sends too much that is wrong is taken off the whitelist.

With 20,000 requests and more in the last 24 hours of which fewer than 70 % succeed a client gets
notice; if it stays so for 96 hours, İYS takes its address off the whitelist. Failures are what the
client is to blame for: 400, 401, 403, 404 and 422.
"""

from collections import deque
from typing import Final

from iys_simulator.settings import Settings

FAILURES: Final = frozenset(["400", "401", "403", "404", "422"])
_BUCKET: Final = 3600.0
_BUCKETS: Final = 24

_Bucket = tuple[int, int, int]  # its number, requests, failures


class TrafficQuality:
    """Counts requests and failures of each client by the hour."""

    def __init__(self) -> None:
        self._buckets: dict[str, deque[_Bucket]] = {}
        self._since: dict[str, float] = {}  # notice given
        self._removed: set[str] = set()

    def note(self, client: str, now: float, status: str, settings: Settings) -> None:
        """Count one answer at `now` (epoch seconds), and judge the client anew."""
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
            self._since.pop(client, None)
        elif now - self._since.setdefault(client, now) >= settings.quality_grace:
            self._removed.add(client)

    def is_removed(self, client: str) -> bool:
        """Whether the client's address is off the whitelist."""
        return client in self._removed

    def readmit(self, client: str) -> None:
        """Put an address back on the whitelist and forget its traffic."""
        self._removed.discard(client)
        self._since.pop(client, None)
        self._buckets.pop(client, None)

    def told(self) -> list[dict[str, object]]:
        """Give what is known of each client: requests, rate, since when it has notice, removed."""
        answer: list[dict[str, object]] = []
        for client in self._buckets:
            total, failures = self._totals(client)
            answer.append(
                {
                    "client": client,
                    "requests": total,
                    "successRate": round(1 - failures / total, 4),
                    "noticeSince": self._since.get(client),
                    "isRemoved": client in self._removed,
                }
            )
        return answer

    def clear(self) -> None:
        """Forget all clients."""
        self._buckets.clear()
        self._since.clear()
        self._removed.clear()

    def _is_bad(self, client: str, settings: Settings) -> bool:
        total, failures = self._totals(client)
        enough = total >= settings.quality_requests
        return enough and (total - failures) / total < settings.quality_rate

    def _totals(self, client: str) -> tuple[int, int]:
        buckets = self._buckets[client]
        return sum(bucket[1] for bucket in buckets), sum(bucket[2] for bucket in buckets)
