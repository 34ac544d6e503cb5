"""Ends a worker that stands still: its event loop, or its place in the group.

A commit may block the loop for its bounded time; a loop that is stuck longer would hold its
partitions without deciding anything while the consumer's own thread keeps the group believing in
it. Another worker takes over at once when the process is gone, and the transaction left open is
aborted by its successor.

A worker may also lose its place in the group for good. Where a batch waited for its broker longer
than ``max_poll_interval`` when a rebalance began, aiokafka joins again only after the next poll,
and Faust polls only after it has joined: seen. Such a worker looks well and decides nothing.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING

from izin.runtime.observe import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

STALLED_AFTER = 20.0
OUTSIDE_FOR = 45.0
"""Longer than the group waits for its slowest member (``max_poll_interval``, 30 s)."""
EXIT_STALLED = 70

_log = get_logger(__name__)


class Watchdog:
    """Watches one event loop from a thread of its own, and whether things there go on."""

    def __init__(
        self,
        *,
        limit: float = STALLED_AFTER,
        what: str = "the event loop stands still",
        goes_on: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit = limit
        self._what = what
        self._goes_on = goes_on
        self._clock = clock
        self._end = end
        self._beat_at = clock()
        self._stopped = threading.Event()

    async def beat(self) -> None:
        """Show signs of life until cancelled; runs on the watched loop."""
        while True:
            if self._goes_on():
                self._beat_at = self._clock()
            await asyncio.sleep(self._limit / 20)

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def check(self) -> None:
        """End the process if it has stood still for the limit."""
        silent = self._clock() - self._beat_at
        if silent >= self._limit:
            _log.critical(f"{self._what}; ending this worker", seconds=round(silent))
            self._end(EXIT_STALLED)

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / 10):
            self.check()
