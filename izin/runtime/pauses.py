"""Work that is long for one event loop, in turns with what else waits there."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

_EVERY = 50


async def with_pauses(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield ``items``, and let other tasks run now and then: a push, or a heartbeat, shares the
    event loop with bulk.
    """
    for place, item in enumerate(items, 1):
        yield item
        if place % _EVERY == 0:
            await asyncio.sleep(0)
