"""Ctrl-C and SIGTERM: the first stops what was started, in order; the second ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from izin.console.terminal.output import ExitCode

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def raising_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at the first signal; the second ends the process.

    Child processes end with this one however it ends, by their parent-death signal.
    """
    before = [signal.signal(number, _interrupt) for number in _NUMBERS]
    try:
        yield
    finally:
        for number, handler in zip(_NUMBERS, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """End the command with ``ExitCode.INTERRUPTED`` where a signal ends the block early."""
    try:
        with raising_on_signals():
            yield
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _interrupt(_number: int, _frame: object) -> NoReturn:
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
