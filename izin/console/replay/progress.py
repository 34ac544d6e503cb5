"""The progress of a replay on standard error: how much is done, how fast, and how long it takes.

On a terminal it is a bar, elsewhere a line every ten seconds.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from izin.console.terminal.output import err, say

_EVERY = 10.0


class ReplayProgress:
    """How much of ``total`` is done; shown by :func:`showing`."""

    def __init__(self, what: str, bars: Progress | None) -> None:
        self._what = what
        self._bars = bars
        self._task = bars.add_task(what, total=None, rate="") if bars is not None else None
        self._began = time.monotonic()
        self._next = self._began + _EVERY
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that so many of ``total`` are done."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        rate = (done - self._first) / max(now - self._began, 0.001)
        if self._bars is not None and self._task is not None:
            text = f"{rate:,.0f}/s"
            self._bars.update(self._task, completed=done, total=total, rate=text)
        elif now >= self._next:
            self._next = now + _EVERY
            left = f"{(total - done) / rate:,.0f} s left" if rate else "not moving"
            say(f"{self._what}: {done:,} of {total:,}, {rate:,.0f}/s, {left}")


@contextmanager
def showing(what: str) -> Iterator[ReplayProgress]:
    """Yield what shows the progress of the block: call it with how many are done, and of how
    many.
    """
    if not err.is_terminal:
        yield ReplayProgress(what, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        yield ReplayProgress(what, bars)
