"""Ends a worker whose event loop stands still.

A commit may block the loop for its bounded time; a loop that is stuck longer would hold its
partitions without deciding anything while the consumer's own thread keeps the group believing in
it. Another worker takes over at once when the process is gone, and the transaction left open is
aborted by its successor.
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
EXIT_STALLED = 70

_log = get_logger(__name__)


class Watchdog:
    """Watches one event loop from a thread of its own."""

    def __init__(
        self,
        *,
        limit: float = STALLED_AFTER,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._end = end
        self._beat_at = clock()
        self._stopped = threading.Event()

    async def beat(self) -> None:
        """Show signs of life until cancelled; runs on the watched loop."""
        while True:
            self._beat_at = self._clock()
            await asyncio.sleep(self._limit / 20)

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def check(self) -> None:
        """End the process if the loop has stood still for the limit."""
        silent = self._clock() - self._beat_at
        if silent >= self._limit:
            _log.critical("the event loop stands still; ending this worker", seconds=round(silent))
            self._end(EXIT_STALLED)

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / 10):
            self.check()
