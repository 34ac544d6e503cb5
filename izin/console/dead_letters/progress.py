"""The progress of what takes long, on standard error where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress as Bars

from izin.console.terminal.output import err
from izin.replay.letters.reading import OnProgress


@contextmanager
def progress_bars() -> Iterator[Callable[[str], OnProgress]]:
    """Yield what begins a step, by its name, and returns what shows how much of it is done."""
    with Bars(console=err, transient=True) as bars:

        def begin(step: str) -> OnProgress:
            task = bars.add_task(step, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield begin
