"""The progress of what takes long, on standard error: how much is done, how fast, and how long it
takes.

On a terminal it is a bar for each step, elsewhere a line every ten seconds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from izin.cli.terminal.output import err, say

_EVERY = 10.0


class ShownStep:
    """How much of a step is done; shown by :func:`showing` or :func:`showing_steps`."""

    def __init__(self, bars: Progress | None, what: str) -> None:
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
def showing_steps() -> Iterator[Callable[[str], ShownStep]]:
    """Yield what begins a step of the block, by its name, and returns what shows its progress: call
    that with how many are done, and of how many.
    """
    if not err.is_terminal:
        yield partial(ShownStep, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        yield partial(ShownStep, bars)


@contextmanager
def showing(what: str) -> Iterator[ShownStep]:
    """Yield what shows the progress of the block, which is one step."""
    with showing_steps() as begin:
        yield begin(what)
