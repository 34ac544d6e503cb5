"""Rate limits of one client address, and how each limit recovers.

H124 counts all requests by the second, H086 single status queries and H089 history queries by the
hour. H084 is the harshest: a token request that exceeds it starts the hour again. Windows are
arguments, in seconds, so that a test can shorten an hour.
"""

from collections import deque
from typing import Protocol


class Limit(Protocol):
    """Counts requests of one client address."""

    def admits(self, client: str, now: float, limit: int, window: float) -> bool:
        """Return whether a request at `now` (epoch seconds) is within `limit`; 0 is no limit."""
        ...

    def clear(self) -> None:
        """Forget all clients."""
        ...


class FixedWindow:
    """Counts by whole windows of the clock: the eleventh request of a second is refused."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[float, int]] = {}

    def admits(self, client: str, now: float, limit: int, window: float) -> bool:
        """See `Limit`; refused requests are not counted, the window ends with the clock."""
        if not (limit and window):
            return True
        start = now // window * window
        seen, count = self._counts.get(client, (start, 0))
        if seen != start:
            count = 0
        if count >= limit:
            return False
        self._counts[client] = (start, count + 1)
        return True

    def clear(self) -> None:
        """See `Limit`."""
        self._counts.clear()


class SlidingWindow:
    """Counts the requests of the last `window` seconds."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def admits(self, client: str, now: float, limit: int, window: float) -> bool:
        """See `Limit`."""
        if not (limit and window):
            return True
        times = self._times.setdefault(client, deque())
        while times and times[0] <= now - window:
            times.popleft()
        if len(times) >= limit:
            return False
        times.append(now)
        return True

    def clear(self) -> None:
        """See `Limit`."""
        self._times.clear()


class RestartingHour:
    """H084: the window starts with the first request; a refused one starts the hour again."""

    def __init__(self) -> None:
        self._state: dict[str, tuple[float, int]] = {}  # client: (end of the window, count)

    def admits(self, client: str, now: float, limit: int, window: float) -> bool:
        """See `Limit`."""
        if not (limit and window):
            return True
        end, count = self._state.get(client, (now + window, 0))
        if now >= end:
            end, count = now + window, 0
        if count >= limit:
            self._state[client] = (now + window, count)
            return False
        self._state[client] = (end, count + 1)
        return True

    def clear(self) -> None:
        """See `Limit`."""
        self._state.clear()
