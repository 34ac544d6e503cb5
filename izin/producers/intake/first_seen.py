"""When a statement was first received, remembered for a day and for so many statements.

A retry of a "yes" must count from its first receipt: counted from the retry, it could outrun a "no"
that came between the two. What this process has forgotten, or never saw, counts from now.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

KEPT = timedelta(days=1)
MOST = 100_000


class FirstSeen:
    """Instants of first receipt by event id, the oldest first; bounded."""

    def __init__(self, most: int = MOST, kept: timedelta = KEPT) -> None:
        self._most = most
        self._kept = kept
        self._seen: OrderedDict[str, datetime] = OrderedDict()

    def at(self, event_id: str, now: datetime) -> datetime:
        """Return when ``event_id`` was first seen: ``now`` if it is new."""
        while self._seen:
            oldest = next(iter(self._seen.values()))
            if len(self._seen) < self._most and now - oldest < self._kept:
                break
            self._seen.popitem(last=False)
        return self._seen.setdefault(event_id, now)
