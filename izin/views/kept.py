"""Figures that cost: kept for some seconds, and read once for however many ask.

What took long to read is kept for long, so that reading takes a small part of the time. Who asks a
little later gets what was read before, while it is read again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar

_LEAST = 4.0
"""Seconds for which a figure is kept at least."""
_REST = 20
"""It is kept for so many times the seconds that reading it took."""
_USABLE = 3
"""For so many times that long it is shown while it is read again."""
T = TypeVar("T")


@dataclass(slots=True)
class _Figure:
    """What was read, when, and how long that took; the task that reads it."""

    found: Any = None
    read_at: float = -inf
    took: float = 0.0
    task: asyncio.Task[None] | None = None


class Kept:
    """What one process has read."""

    def __init__(
        self, *, least: float = _LEAST, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._least, self._timer = least, timer
        self._figures: dict[Hashable, _Figure] = {}

    async def get(self, what: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return what ``read`` returned lately for ``what``; raises what it raises."""
        figure = self._figures.setdefault(what, _Figure())
        lasts = max(self._least, _REST * figure.took)
        age = self._timer() - figure.read_at
        if age > lasts and (figure.task is None or figure.task.done()):
            figure.task = asyncio.create_task(self._read(figure, read))
            figure.task.add_done_callback(_noted)
        if age > _USABLE * lasts and figure.task is not None:
            # Whoever goes away does not end what others wait for.
            await asyncio.shield(figure.task)
        found: T = figure.found
        return found

    def forget(self, what: Hashable) -> None:
        """Forget what was read, for it was changed here: who asks next waits for what it is now."""
        self._figures.pop(what, None)

    async def _read(self, figure: _Figure, read: Callable[[], Awaitable[Any]]) -> None:
        began = self._timer()
        figure.found = await read()
        figure.read_at = self._timer()
        figure.took = figure.read_at - began


def _noted(task: asyncio.Task[None]) -> None:
    """Take note of an error that nobody waited for: the figure is read again when it is asked."""
    if not task.cancelled():
        task.exception()
