"""The time that the end of a transaction may take."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

_WITHIN = 6.0
"""In seconds. The partition is acquired again then, which fences this transaction and finds out how
it ended: sooner than its coordinator, if that is frozen or cut off, answers what it was asked.
"""
_GRACE = 1.0
"""How long it may still take once the partition is no longer assigned, in seconds."""

T = TypeVar("T")


def timed_out() -> KafkaException:
    """Return the error of what did not happen in time."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it


async def in_time(
    work: Coroutine[Any, Any, T],
    is_assigned: Callable[[], bool] = lambda: True,
    *,
    within: float = _WITHIN,
) -> T:
    """Return what ``work`` on a transaction returns, in ``within`` seconds; raises KafkaException.

    Given up a moment after the partition was assigned elsewhere, for its next owner completes or
    aborts it. The producer must not be used again then.
    """
    working, left = asyncio.ensure_future(work), within
    try:
        while not working.done() and left > 0:
            await asyncio.wait((working,), timeout=min(_GRACE, left))
            left -= _GRACE
            if not is_assigned():
                break
        if working.done():
            return working.result()
        raise timed_out()
    finally:
        working.cancel()
