"""Whose bulk is folded next: one partition's at a time, in the order of asking.

Folding keeps the event loop busy. Were the batches of all partitions folded side by side, each
would take as long as all of them, and an opt-out waits for the batch in hand of its partition. What
is urgent takes no turn.
"""

import asyncio
from collections import deque


class Turns:
    """Grants turns, one at a time; who asks is an event, set when its turn comes."""

    def __init__(self) -> None:
        self._queue = deque[asyncio.Event]()

    def is_mine(self, asker: asyncio.Event) -> bool:
        """Ask for a turn, unless it was asked for; return whether it has come."""
        if asker not in self._queue:
            self._queue.append(asker)
        return self._queue[0] is asker

    def give_back(self, asker: asyncio.Event) -> None:
        """End the turn of ``asker``, or let it pass when it would come."""
        if asker in self._queue:
            self._queue.remove(asker)
            if self._queue:
                self._queue[0].set()
