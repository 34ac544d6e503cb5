"""Notifications between processes: whoever writes work sends NOTIFY and wakes those who wait.

A missed notification costs the poll interval and nothing else. Notifications are counted, so that
one between looking for work and waiting is not lost.
"""

import asyncio
from datetime import timedelta

from psycopg import sql

from izin.ledger.db.connection import Ledger

OPT_OUTS = "izin_opt_outs"
BULK = "izin_bulk"
QUERIES = "izin_queries"
OUTBOX = "izin_outbox"
VIA = "izin_via"
NAMES = (OPT_OUTS, BULK, QUERIES, OUTBOX, VIA)


class Notifications:
    """The notifications of one process, counted by name."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(NAMES, 0)
        self._waiting: dict[str, set[asyncio.Future[None]]] = {name: set() for name in NAMES}

    def count(self, name: str) -> int:
        """Return how many notifications came so far; :meth:`wait`, given it, misses none since."""
        return self._counts[name]

    def wake(self, name: str) -> None:
        """Wake those who wait for ``name`` in this process."""
        if name not in self._counts:
            return
        self._counts[name] += 1
        for waiter in self._waiting[name]:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, name: str, seen: int, at_most: timedelta) -> None:
        """Return when more notifications than ``seen`` have come, or after ``at_most``."""
        if self._counts[name] != seen:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name].add(waiter)
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await waiter
        except TimeoutError:
            return
        finally:
            self._waiting[name].discard(waiter)

    async def listen(self, ledger: Ledger) -> None:
        """Wake this process for the notifications of all, until cancelled or disconnected."""
        async with ledger.session() as connection:
            for name in NAMES:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
            for name in NAMES:
                self.wake(name)
            async for notice in connection.notifies():
                self.wake(notice.channel)
