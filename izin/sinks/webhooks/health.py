"""Whether a subscriber is up, and when to try again. Pure: time and chance are arguments.

A failure concerns one event, until it is clear that it concerns the subscriber: no reply several
times in a row, or failures of several events without a success between them. Then the subscriber is
down, and one request at a time tries whether it is back. Pauses double up to the longest, and vary,
so that many subscribers of one failed server are not tried at once; they have no end.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from izin.runtime.backoff import Backoff
from izin.sinks.webhooks.posting import Reply

DOWN_AFTER = 3
"""So many requests in a row without a reply."""
DOWN_AFTER_EVENTS = 5
"""Or failures of so many events without a success."""


@dataclass(slots=True)
class SubscriberHealth:
    """The health of one subscriber; instants are seconds of one clock."""

    first_pause: timedelta
    longest_pause: timedelta
    closed_until: float = 0.0
    """Nothing is sent before, whatever waits."""
    is_down: bool = False
    _silences: int = 0
    _pauses: int = 0
    _failed: set[str] = field(default_factory=set)

    def took(self) -> bool:
        """Note a success; return whether it was down."""
        was_down, self.is_down = self.is_down, False
        self._silences = self._pauses = 0
        self.closed_until = 0.0
        self._failed.clear()
        return was_down

    def failed(self, webhook_id: str, reply: Reply, now: float, chance: float) -> None:
        """Note a failure; ``chance`` is between 0 and 1."""
        self._silences = self._silences + 1 if reply.status is None else 0
        if len(self._failed) < DOWN_AFTER_EVENTS:
            self._failed.add(webhook_id)
        if self._silences >= DOWN_AFTER or len(self._failed) >= DOWN_AFTER_EVENTS:
            self.is_down = True
        if not self.is_down and not reply.is_of_the_endpoint:
            return
        if now >= self.closed_until:  # else the request was under way when an earlier one failed
            self._pauses += 1
        pause = self.pause(self._pauses, reply, chance)
        self.closed_until = max(self.closed_until, now + pause)

    def pause(self, failures: int, reply: Reply, chance: float) -> float:
        """Return the seconds to wait after so many failures in a row; at least as long as the
        subscriber asked for, and never longer than the longest pause.
        """
        wait = Backoff(self.first_pause, self.longest_pause).after(failures).total_seconds()
        varied = wait * (0.75 + chance / 2)
        longest = self.longest_pause.total_seconds()
        return min(max(varied, reply.retry_after or 0.0), longest)

    def may_send(self, now: float, under_way: int) -> bool:
        """Whether a request may be sent now: to one that is down, one at a time."""
        return now >= self.closed_until and not (self.is_down and under_way)
