"""Blocking work in a thread that the end of the process does not wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_daemon_thread(work: Callable[[], T], *, name: str) -> T:
    """Return what ``work`` returns or raise what it raises; a thread of its own runs it.

    Threads of an executor would keep a process from ending until the last of them is done, and a
    call to a broker that is away may take long.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def report(settle: Callable[[], None]) -> None:
        def unless_over() -> None:
            if not outcome.done():
                settle()

        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(unless_over)

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets it
            report(partial(outcome.set_exception, error))
        else:
            report(partial(outcome.set_result, result))

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome
