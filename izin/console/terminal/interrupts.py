"""Ctrl-C and SIGTERM: the first stops what was started, in order; the second ends at once."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

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


def run_interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` in an event loop of its own; the first signal cancels it where it waits, and the
    second ends the process.

    Raised as it comes, an interrupt could fall between a coroutine's call and its first step.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    if asyncio.run(_is_cancelled(work)):
        raise KeyboardInterrupt


async def _is_cancelled(work: Coroutine[Any, Any, None]) -> bool:
    """Await ``work``; return whether a signal has cancelled it."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def interrupt() -> None:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
        _restore_defaults()
        task.cancel()

    before = [signal.getsignal(number) for number in _NUMBERS]
    for number in _NUMBERS:
        loop.add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        return True
    finally:
        for number, handler in zip(_NUMBERS, before, strict=True):
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)
    return False


def _restore_defaults() -> None:
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_DFL)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    _restore_defaults()
    raise KeyboardInterrupt
