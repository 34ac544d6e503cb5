"""Exit codes of every command, by who must act; errors and dry runs that end one.

0   done, and all is well
1   something is wrong, and the output says what to do
2   wrong usage
3   the input cannot be used: its source must act
4   a server cannot be reached, or a part of this installation is at fault: an operator must act
5   done, but opt-outs (RET) of the input were refused, or may be among what was refused
6   nothing is wrong with what could be verified, and something could not be
130 stopped by Ctrl-C or SIGTERM before it was done

The first of these signals stops what was started, in order; the second ends at once.
"""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.text import Text

from izin.cli.terminal.output import err, say
from izin.consent import IzinError, SourceError, visible
from izin.runtime.logs import wrong_settings

T = TypeVar("T")

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    WRONG = 1
    USAGE = 2
    SOURCE = 3
    OURS = 4
    OPT_OUTS_REFUSED = 5
    NOT_VERIFIED = 6
    INTERRUPTED = 130


def say_dry_run(would: str) -> None:
    """Print what a command ``would`` do, or that it did nothing, and which option does it."""
    say(f"{would}; add --execute to do it")


def end_dry_run(would: str, *, execute: bool) -> None:
    """End the command, and say what it ``would`` do, unless ``execute`` is given."""
    if not execute:
        say_dry_run(would)
        raise typer.Exit


def exit_if(wrong: object, code: ExitCode = ExitCode.WRONG) -> None:
    """End the command with exit ``code`` if anything is ``wrong``."""
    if wrong:
        raise typer.Exit(code)


@contextmanager
def exit_on_error(*others: type[Exception]) -> Iterator[None]:
    """Turn errors that a user can act on into one message and an exit code.

    An ``OSError`` is one: a file, a folder or a server is not as it should be. ``others`` are
    errors from outside our packages that an operator can act on.
    """
    ours: tuple[type[Exception], ...] = (IzinError, OSError, *others)
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads the output has enough: the command line ends without a word
    except SourceError as error:
        _fail(str(error), ExitCode.SOURCE)
    except ours as error:
        _fail(str(error), ExitCode.OURS)
    except SettingsError as error:
        _fail(f"settings: {error}; lists are written as JSON: [1, 2]", ExitCode.OURS)
    except ValidationError as error:
        _fail(f"settings: {wrong_settings(error)}", ExitCode.OURS)


def _fail(message: str, code: ExitCode) -> None:
    err.print(Text.assemble(("error", "red"), " ", visible(message)), soft_wrap=True)
    raise typer.Exit(code)


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
