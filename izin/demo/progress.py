"""What people see while they wait: one bar a stage, and a limit to every wait."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from izin.consent.errors import OurError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from rich.console import Console
    from rich.progress import TaskID

_LOOK_EVERY = 0.1


class WentWrongError(OurError):
    """A step of the demo did not have the effect that it must have."""


class Bar:
    """The bar of one stage."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def show(self, done: int, total: int) -> None:
        """Show how far the stage has come."""
        self._bars.update(self._task, completed=done, total=max(total, 1))


class Stages:
    """All bars of a run; a context manager through ``shown``."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<44}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars while the block runs."""
        with self._bars:
            yield

    @contextmanager
    def begin(self, what: str) -> Iterator[Bar]:
        """Show a bar for the stage ``what``; full at its end."""
        task = self._bars.add_task(what, total=None)
        yield Bar(self._bars, task)
        total = self._bars.tasks[task].total or 1
        self._bars.update(task, completed=total, total=total)
        self._bars.stop_task(task)

    def tell(self, message: str) -> None:
        """Print ``message`` above the bars."""
        self._bars.console.print(message, style="dim", markup=False, highlight=False)


def wait_until(effect: Callable[[], bool], *, within: timedelta, what: str) -> None:
    """Look again and again until ``effect`` is there; raises WentWrongError at the limit."""
    limit = time.monotonic() + within.total_seconds()
    while not effect():
        if time.monotonic() > limit:
            raise WentWrongError(f"gave up after {within.total_seconds():.0f} s waiting: {what}")
        time.sleep(_LOOK_EVERY)
