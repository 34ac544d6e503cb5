"""Whose bulk is folded next: one partition's at a time, in the order of asking.

Folding keeps the event loop busy. Were the batches of all partitions folded side by side, each
would take as long as all of them, and an opt-out waits for the batch in hand of its partition. What
is urgent takes no turn.
"""

import asyncio
from collections import deque

_LIMIT = 1.0
"""Seconds after which a turn ends in any case: a broker that does not take what is folded holds up
no other partition, and neither does a partition that is busy when its turn comes."""


class Turns:
    """Grants turns, one at a time; who asks is an event, set when its turn comes."""

    def __init__(self) -> None:
        self._queue = deque[asyncio.Event]()
        self._end: asyncio.TimerHandle | None = None

    def is_mine(self, asker: asyncio.Event) -> bool:
        """Ask for a turn, unless it was asked for; return whether it has come."""
        if asker not in self._queue:
            self._queue.append(asker)
            self._limit()
        return self._queue[0] is asker

    def give_back(self, asker: asyncio.Event) -> None:
        """End the turn of ``asker``, or let it pass when it would come."""
        if asker in self._queue:
            if self._end is not None and self._queue[0] is asker:
                self._end.cancel()
                self._end = None
            self._queue.remove(asker)
            if self._queue:
                self._queue[0].set()
                self._limit()

    def _limit(self) -> None:
        if self._end is None:
            loop, first = asyncio.get_running_loop(), self._queue[0]
            self._end = loop.call_later(_LIMIT, self.give_back, first)
