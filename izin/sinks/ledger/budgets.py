"""The pace of one egress address, shared by all processes behind it: ten requests a second, over
all methods.

A process queues its own calls by class and takes one slot at a time from the ledger for whoever is
most urgent when it comes, so an opt-out passes waiting bulk. A slot not used in time is forfeited.
While the ledger cannot be reached nothing leaves: the pace would not be kept.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from izin.sinks.ledger.statements import statements

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from izin.iys.pacing import CallClass, Pace
    from izin.sinks.ledger.database import Ledger

_SQL = statements("budgets")


@dataclass(order=True, slots=True)
class _Waiter:
    call_class: CallClass
    number: int
    granted: asyncio.Future[None] = field(compare=False)


class LedgerPacer:
    """Implements ``iys.pacing.Pacer`` over the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        pace: Pace,
        *,
        address: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ledger = ledger
        self._pace = pace
        self._address = address
        self._clock = clock
        self._sleep = sleep
        self._numbers = count()
        self._slots = count(1)
        self._waiting: list[_Waiter] = []
        self._granting: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Make the address known to the ledger."""
        async with self._ledger.transaction() as connection:
            await connection.execute(_SQL["begin"], {"address": self._address})

    async def wait(self, call_class: CallClass) -> None:
        """Return when a call of this class may leave."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiter(call_class, next(self._numbers), granted))
        if self._granting is None or self._granting.done():
            self._granting = asyncio.create_task(self._grant(), name="ledger-pacer")
        await granted

    async def throttled(self) -> None:
        """Have every process behind the address pause, and go on at half the pace."""
        async with self._ledger.transaction() as connection:
            await connection.execute(
                _SQL["slow-down"],
                {
                    "address": self._address,
                    "pause": self._pace.pause,
                    "slowest": self._pace.slowest,
                },
            )

    async def _grant(self) -> None:
        try:
            while self._drop_cancelled():
                await self._slot()
                waiter = self._next_waiter()
                if waiter is not None:
                    waiter.granted.set_result(None)
        except BaseException as error:
            # Without this, whoever waits would wait for ever.
            for waiter in self._waiting:
                if not waiter.granted.done():
                    if isinstance(error, Exception):
                        waiter.granted.set_exception(error)
                    else:
                        waiter.granted.cancel()
            self._waiting.clear()
            if not isinstance(error, Exception):
                raise

    async def _slot(self) -> None:
        while True:
            asked_at = self._clock()
            ahead = await self._take()
            comes_at = asked_at + ahead
            while (left := comes_at - self._clock()) > 0:
                await self._sleep(left)
            if not self._pace.is_forfeited(max(comes_at, asked_at), self._clock()):
                return

    async def _take(self) -> float:
        values = {
            "address": self._address,
            "interval": self._pace.interval,
            "creep": self._pace.creep,
        }
        async with self._ledger.transaction() as connection:
            row = await (await connection.execute(_SQL["next-slot"], values)).fetchone()
        if row is None:
            await self.begin()
            return await self._take()
        return float(next(iter(row.values())))

    def _next_waiter(self) -> _Waiter | None:
        if not self._drop_cancelled():
            return None
        if next(self._slots) % self._pace.longest_waiting_every:
            return heapq.heappop(self._waiting)
        longest = min(self._waiting, key=lambda waiter: waiter.number)
        self._waiting.remove(longest)
        heapq.heapify(self._waiting)
        return longest

    def _drop_cancelled(self) -> bool:
        self._waiting = [waiter for waiter in self._waiting if not waiter.granted.done()]
        heapq.heapify(self._waiting)
        return bool(self._waiting)
