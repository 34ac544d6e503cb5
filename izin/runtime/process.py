"""A process: stopped on signals, its tasks and threads, its memory and the collection of it.

asyncio tasks are stopped by a cancellation that waits for their end; blocking work is done in a
thread that the end of the process does not wait for. Work that is long for one event loop is done
in turns with what else waits there.
"""

import asyncio
import ctypes
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

_RETRY_AFTER = 1.0
_PAUSE_EVERY = 50
T = TypeVar("T")
_ALLOCATIONS = 50_000
"""Of what lives on: cycles that wait for the collector. Four times as many halted a worker for 130
milliseconds every few minutes."""
_M_TRIM_THRESHOLD, _M_TOP_PAD = -1, -2
_KEPT = 256 << 20
_TAKEN_AT_ONCE = 16 << 20
"""Bytes."""


def stopping_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set; called in the running loop of the process."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks``, repeatedly, until all of them have ended.

    Once is not enough: a task may take the cancellation for its own time-out, as
    ``asyncio.wait_for`` does before Python 3.12.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_RETRY_AFTER)


async def first_of(*work: Coroutine[Any, Any, None]) -> None:
    """Return when one of ``work`` has ended, and the others were cancelled; raise its error."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(tasks)
    for task in done:
        task.result()


async def drain(
    ending: Collection[asyncio.Task[None]],
    background: Collection[asyncio.Task[None]],
    *,
    within: float,
) -> None:
    """Cancel ``background``; let ``ending`` finish ``within`` seconds, then cancel it too."""
    for task in background:
        task.cancel()
    await asyncio.wait(ending, timeout=within)
    await cancel_all([*ending, *background])


@asynccontextmanager
async def entered(work: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave ``work``, which waits for a broker, in a thread: the event loop goes on."""
    found = await asyncio.to_thread(work.__enter__)
    try:
        yield found
    finally:
        await asyncio.to_thread(work.__exit__, None, None, None)


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


def follow_parent() -> None:
    """End this process, which ``multiprocessing`` started, with its parent, and leave Ctrl-C to it.

    Ctrl-C reaches all of a process group: the parent ends its processes itself. One that was ended
    by ``kill -9`` cannot, and a process that waits for work would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after_parent, name="parent", daemon=True).start()


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def tune_gc_for_batches() -> None:
    """Collect once, freeze what is alive, and from now on collect every 50,000 allocations.

    A full collection halts a process for a tenth of a second, whatever waits for an answer. And a
    batch makes some hundred thousand objects without reference cycles; at the default threshold the
    collector would traverse the heap a hundred times a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)


def keep_memory_of_batches() -> None:
    """Keep the memory that a batch has used for the next one, where the C library is glibc.

    It would be given back after each batch and taken again page by page, which is an eighth of the
    CPU of ingest.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_TOP_PAD, _TAKEN_AT_ONCE)


async def with_pauses(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield ``items``, and let other tasks run now and then: a push, or a heartbeat, shares the
    event loop with bulk.
    """
    for place, item in enumerate(items, 1):
        yield item
        if place % _PAUSE_EVERY == 0:
            await asyncio.sleep(0)
