"""Ctrl-C and SIGTERM: the first stops what was started, in order; the second ends at once."""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import typer

from izin.cli.terminal.exit_codes import ExitCode

T = TypeVar("T")

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


def run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` in an event loop of its own, and return its result; the first signal cancels it
    where it waits, and the second ends the process.

    Raised as it comes, an interrupt could fall between a coroutine's call and its first step, or
    into the loop itself, which then waits for ever for tasks that it has left.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)  # signals come to the main thread alone
    found = asyncio.run(_unless_cancelled(work))
    if found is None:
        raise KeyboardInterrupt
    return found[0]


async def _unless_cancelled(work: Coroutine[Any, Any, T]) -> tuple[T] | None:
    """Return the result of ``work``; None where a signal has cancelled it."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    signalled = False

    def interrupt() -> None:
        nonlocal signalled
        signalled = True
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
        _restore_defaults()
        task.cancel()

    before = [signal.getsignal(number) for number in _NUMBERS]
    for number in _NUMBERS:
        loop.add_signal_handler(number, interrupt)
    try:
        return (await task,)
    except asyncio.CancelledError:
        if signalled:
            return None
        raise
    finally:
        for number, handler in zip(_NUMBERS, before, strict=True):
            if loop.remove_signal_handler(number):
                signal.signal(number, handler)


def _restore_defaults() -> None:
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_DFL)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    _restore_defaults()
    raise KeyboardInterrupt
