"""The instants at which events were first received, for a day and a limited number of events.

A retry of an opt-in counts from its first receipt: counted from the retry, it could override an
opt-out that came in between. An event that this process does not remember counts from now.
"""

from collections import OrderedDict
from datetime import datetime, timedelta

MAX_AGE = timedelta(days=1)
MAX_EVENTS = 100_000


class FirstSeen:
    """A bounded cache of the first receipt by event id, the oldest first."""

    def __init__(self, max_events: int = MAX_EVENTS, max_age: timedelta = MAX_AGE) -> None:
        self._max_events = max_events
        self._max_age = max_age
        self._seen: OrderedDict[str, datetime] = OrderedDict()

    def at(self, event_id: str, now: datetime) -> datetime:
        """Return when ``event_id`` was first received: ``now`` if it is new."""
        while self._seen:
            oldest = next(iter(self._seen.values()))
            if len(self._seen) < self._max_events and now - oldest < self._max_age:
                break
            self._seen.popitem(last=False)
        return self._seen.setdefault(event_id, now)
