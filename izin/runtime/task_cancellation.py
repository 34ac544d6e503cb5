"""Tasks of an event loop: stopped by signals or together, and in turns where work is long."""

import asyncio
import signal
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

_RETRY_AFTER = 1.0
_PAUSE_EVERY = 50


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


async def with_pauses(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield ``items``, and let other tasks run now and then: a push, or a heartbeat, shares the
    event loop with bulk.
    """
    for place, item in enumerate(items, 1):
        yield item
        if place % _PAUSE_EVERY == 0:
            await asyncio.sleep(0)
