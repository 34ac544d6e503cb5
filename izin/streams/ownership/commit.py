"""Commit a transaction without holding up the event loop.

``commit_transaction`` blocks until the broker has answered, so a thread of its own calls it. To
call it on the event loop for a few milliseconds at a time, again and again, would cost less, and
breaks librdkafka: what it was asked stays queued after the time-out, and is done in the next
transaction (decision 0020).
"""

import asyncio
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer

from izin.runtime.daemon_thread import in_daemon_thread

_WITHIN = 6.0
"""In seconds. The partition is acquired again then, which fences this transaction and finds out how
it ended: sooner than its coordinator, if that is frozen or cut off, answers what it was asked.
"""
_GRACE = 1.0
"""How long a commit may still take once the partition is no longer assigned, in seconds."""


def timed_out() -> KafkaException:
    """Return the error of what did not happen in time."""
    return KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # librdkafka's name for it


async def commit_transaction(producer: Producer, is_assigned: Callable[[], bool]) -> None:
    """Commit the transaction; raises KafkaException unless it certainly was.

    Given up a moment after the partition was assigned elsewhere, for its next owner completes or
    aborts it. ``producer`` must not be used again then.
    """
    committing = asyncio.ensure_future(
        in_daemon_thread(lambda: producer.commit_transaction(_WITHIN), name="commit")
    )
    while not committing.done():
        await asyncio.wait((committing,), timeout=_GRACE)
        if not committing.done() and not is_assigned():
            committing.add_done_callback(asyncio.Future.exception)  # nobody asks for it any more
            raise timed_out()
    committing.result()
