"""Long work lets other tasks of the event loop in."""

import asyncio

from izin.runtime.process import with_pauses


async def test_items_come_in_their_order():
    """Work that pauses is the same work."""
    assert [one async for one in with_pauses(range(120))] == list(range(120))


async def test_other_tasks_run_meanwhile():
    """A push never waits for a whole batch."""
    seen, done = list[int](), 0

    async def look() -> None:
        while True:
            seen.append(done)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    async for place in with_pauses(range(1000)):
        done = place
    looking.cancel()
    assert len(seen) > 10
    assert max(b - a for a, b in zip(seen, [*seen[1:], done], strict=True)) <= 100
