"""A share of İYS's requests, as that of sweeps: one turn after the other, none of them lost.

A turn that could not be taken in time, because the event loop or İYS was slow, is made up for, up
to a second's worth. Whoever waits first goes first.
"""

import asyncio
from collections.abc import Awaitable, Callable

_MADE_UP = 1.0
"""Seconds for which missed turns are made up."""


class RequestBudget:
    """So many turns a second. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.rate = rate
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()
        self._line = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for the next turn."""
        async with self._line:
            at = max(self._next_at, self._clock() - _MADE_UP)
            while (left := at - self._clock()) > 0:
                await self._sleep(left)
            self._next_at = at + 1 / self.rate
