"""All that is used of aiokafka's fetcher beyond its public interface.

``engine.transport.RELIES_ON`` lists the names; a test checks each.
"""

import asyncio
from typing import Any

WHOLE_WAIT = 500
"""Milliseconds that a broker may wait for a record in a fetch of all its partitions."""
PARTIAL_WAIT = 25
"""The same, in a fetch that leaves out partitions whose records are still being processed."""


def position(consumer: Any, tp: Any) -> int | None:  # noqa: ANN401  # aiokafka publishes no types
    """Return the position of ``tp``; None where it is not assigned, or has none."""
    subscription = consumer._subscription.subscription  # noqa: SLF001  # public calls would await a lookup
    assignment = subscription and subscription.assignment
    state = assignment and assignment.state_value(tp)
    return state.position if state and state.has_valid_position else None


def shorten_waits(fetcher: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
    """Have ``fetcher`` wait for records only where its request leaves out no partition."""
    actions = fetcher._get_actions_per_node  # noqa: SLF001  # aiokafka has no public way

    def with_short_waits(assignment: Any) -> Any:  # noqa: ANN401  # the same
        requests, *others = actions(assignment)
        if fetcher._records:  # noqa: SLF001  # fetched and not yet handed over
            for _, request in requests:
                request._max_wait_ms = PARTIAL_WAIT  # noqa: SLF001  # aiokafka has no public way
        return requests, *others

    fetcher._get_actions_per_node = with_short_waits  # noqa: SLF001  # the same


async def fetched_or_set(consumer: Any, event: asyncio.Event, limit: float) -> bool:  # noqa: ANN401  # aiokafka publishes no types
    """Wait until a fetch brought anything or ``event`` is set, at most ``limit`` seconds; False if
    neither happened.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # aiokafka has no public way
    with consumer._subscription.fetch_context():  # noqa: SLF001  # the same
        waiter = fetcher._create_fetch_waiter()  # noqa: SLF001  # the same
        changed = asyncio.ensure_future(event.wait())
        done, _ = await asyncio.wait(
            (waiter, changed), timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
    changed.cancel()
    if waiter in done:
        waiter.result()
    else:
        waiter.cancel()
    return bool(done) and not fetcher._closed  # noqa: SLF001  # the same
