"""Notifications between processes: whoever writes work sends NOTIFY and wakes those who wait.

A missed notification costs the poll interval and nothing else. Notifications are counted, so that
one between looking for work and waiting is not lost.
"""

import asyncio
from collections import defaultdict
from datetime import timedelta

from psycopg import sql

from izin.ledger.db.connection import Ledger

OPT_OUTS = "izin_opt_outs"
BULK = "izin_bulk"
QUERIES = "izin_queries"
OUTBOX = "izin_outbox"
VIA = "izin_via"
_TAKEN_WITHIN = 0.05
"""Seconds in which what has come is taken."""
NAMES = (OPT_OUTS, BULK, QUERIES, OUTBOX, VIA)


class Notifications:
    """The notifications of one process, counted by name, and those who wait for them.

    Who waits may belong to a lane: equal loops, of which one is enough to look for work.
    """

    def __init__(self) -> None:
        self._counts = defaultdict[str, int](int)
        self._waiting: dict[asyncio.Future[None], tuple[str, str]] = {}
        """The name and the lane that each waits for."""

    def count(self, name: str) -> int:
        """Return how many notifications came so far; :meth:`wait`, given it, misses none since."""
        return self._counts[name]

    def wake(self, name: str) -> None:
        """Wake all who wait for ``name`` in this process."""
        self._counts[name] += 1
        for waiter, (awaited, _) in self._waiting.items():
            if awaited == name and not waiter.done():
                waiter.set_result(None)

    def wake_one(self, lane: str) -> None:
        """Wake who has waited longest as one of ``lane``, if anybody does."""
        for waiter, (_, its_lane) in self._waiting.items():
            if its_lane == lane and not waiter.done():
                waiter.set_result(None)
                return

    async def wait(self, name: str, seen: int, at_most: timedelta, lane: str = "") -> None:
        """Return when more notifications than ``seen`` have come, as the one of ``lane`` that is
        woken, or after ``at_most``.
        """
        if self._counts[name] != seen:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = name, lane
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await waiter
        except TimeoutError:
            return
        finally:
            del self._waiting[waiter]

    async def listen(self, ledger: Ledger) -> None:
        """Wake this process for the notifications of all, until cancelled or disconnected."""
        async with ledger.session() as connection:
            for name in NAMES:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
            for name in NAMES:
                self.wake(name)
            while True:
                async for notice in connection.notifies(timeout=_TAKEN_WITHIN):
                    self.wake(notice.channel)
                # psycopg would look ten times a second whether anything came.
                await _readable(connection.fileno())


async def _readable(descriptor: int) -> None:
    """Return when something can be read."""
    loop, is_readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, is_readable.set)
    try:
        await is_readable.wait()
    finally:
        loop.remove_reader(descriptor)
