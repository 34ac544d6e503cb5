"""Bells between processes: who has written work rings (NOTIFY), who waits for it wakes at once.

A bell that is missed costs the poll interval and nothing else. What rang since the work was last
looked for is remembered, so that a bell between looking and waiting is not lost.
"""

import asyncio
from datetime import timedelta

from psycopg import sql

from izin.sinks.ledger.db.connection import Ledger

OPT_OUTS = "izin_opt_outs"
BULK = "izin_bulk"
QUERIES = "izin_queries"
OUTBOX = "izin_outbox"
NAMES = (OPT_OUTS, BULK, QUERIES, OUTBOX)


class Notifications:
    """The bells of one process."""

    def __init__(self) -> None:
        self._alerted = dict.fromkeys(NAMES, 0)
        self._waiting: dict[str, set[asyncio.Future[None]]] = {name: set() for name in NAMES}

    def count(self, name: str) -> int:
        """Return how often the bell has rung; :meth:`wait`, given it, misses nothing since."""
        return self._alerted[name]

    def wake(self, name: str) -> None:
        """Wake whoever waits for the bell in this process."""
        if name not in self._alerted:
            return
        self._alerted[name] += 1
        for waiter in self._waiting[name]:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, name: str, seen: int, at_most: timedelta) -> None:
        """Return when the bell has rung more often than ``seen``, or after ``at_most``."""
        if self._alerted[name] != seen:
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
        """Ring here whatever any process rings, until cancelled or the database is lost."""
        async with ledger.session() as connection:
            for name in NAMES:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
            for name in NAMES:
                self.wake(name)
            async for notice in connection.notifies():
                self.wake(notice.channel)
