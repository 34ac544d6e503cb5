"""Wait for the end of a transaction for as long as its partition is ours."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

_GRACE = 1.0
"""How long it may still take once the partition is no longer assigned, in seconds."""

T = TypeVar("T")


def timed_out() -> KafkaException:
    """Return the error of what did not happen in time."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it


async def while_assigned(work: Coroutine[Any, Any, T], is_assigned: Callable[[], bool]) -> T:
    """Return what ``work``, which ends a transaction, returns; raises KafkaException.

    Given up a moment after the partition was assigned elsewhere, for its next owner completes or
    aborts it. The producer must not be used again then.
    """
    working = asyncio.ensure_future(work)
    try:
        while not working.done():
            await asyncio.wait((working,), timeout=_GRACE)
            if not working.done() and not is_assigned():
                raise timed_out()
        return working.result()
    finally:
        working.cancel()
