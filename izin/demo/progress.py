"""Progress of the demo: a bar a stage, and a limit to every wait."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from izin.consent.errors import OurError

_POLL_INTERVAL = 0.1


class StageFailedError(OurError):
    """A stage of the demo did not have the effect that it must have."""


class Bar:
    """The bar of one stage."""

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def show(self, done: int, total: int) -> None:
        """Show how much of the stage is done."""
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
    def start(self, what: str) -> Iterator[Bar]:
        """Show a bar for the stage ``what``; full at its end."""
        task = self._bars.add_task(what, total=None)
        yield Bar(self._bars, task)
        total = self._bars.tasks[task].total or 1
        self._bars.update(task, completed=total, total=total)
        self._bars.stop_task(task)

    def report(self, message: str) -> None:
        """Print ``message`` above the bars."""
        self._bars.console.print(message, style="dim", markup=False, highlight=False)


def wait_until(effect: Callable[[], bool], *, within: timedelta, what: str) -> None:
    """Poll until ``effect`` is there.

    Raises:
        StageFailedError: It was not there in time.
    """
    limit = time.monotonic() + within.total_seconds()
    while not effect():
        if time.monotonic() > limit:
            raise StageFailedError(f"gave up after {within.total_seconds():.0f} s waiting: {what}")
        time.sleep(_POLL_INTERVAL)  # an effect in another process: nothing here wakes us
