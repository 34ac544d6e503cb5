"""At most ten requests a second leave an address, over all methods together (reference section 6).

Grants are time slots. A slot not used within 20 ms is forfeited, for a late request would crowd the
next ones into one second; so any ``rate + 1`` uses lie at least a second apart. When İYS says H124
all the same, everybody pauses, goes on at half the pace and creeps up again. The policy and its
arithmetic are pure: seconds of one monotonic clock go in and come out. Behind it stands a queue by
class, in which one slot of ten goes to whoever has waited longest, so that nobody starves.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class CallClass(IntEnum):
    """How urgent a call is; the least number goes first."""

    RET = 0
    """An opt-out, and what everything waits for: a token, a status asked before a resend."""
    DUE = 1
    """An ONAY whose deadline is near."""
    BULK = 2
    RESULTS = 3
    PULL = 4
    SWEEP = 5
    """Statuses in bulk, brands, subscriptions, push connections."""


class Pacer(Protocol):
    """Lets calls out at the pace of an address; shared by all that leave from it."""

    async def wait(self, call_class: CallClass) -> None:
        """Return when a call of this class may leave, which must then happen at once."""

    async def throttled(self) -> None:
        """Note that İYS said "too many this second"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceState:
    """Where an address stands: its next free slot, and which part of the full pace it dares."""

    free_at: float = 0.0
    factor: float = 1.0
    paused_until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The policy. ``rate`` is İYS's limit, requests a second; the other times are seconds."""

    rate: float = 10.0
    forfeit_after: float = 0.02
    pause: float = 1.0
    slowest: float = 0.1
    creep: float = 0.02
    """Of the full pace, regained with every slot."""
    longest_waiting_every: int = 10

    @property
    def interval(self) -> float:
        """The distance of slots at full pace, stretched by what forfeiting lets a use be late."""
        return (1 + self.forfeit_after) / self.rate

    def next_slot(self, state: PaceState, now: float) -> tuple[PaceState, float]:
        """Return the state after granting the next slot, and that slot's instant."""
        instant = max(state.free_at, now)
        taken = PaceState(
            free_at=instant + self.interval / state.factor,
            factor=min(1.0, state.factor + self.creep),
            paused_until=state.paused_until,
        )
        return taken, instant

    def is_forfeited(self, instant: float, now: float) -> bool:
        """Return whether the slot of ``instant`` may no longer be used."""
        return now - instant > self.forfeit_after

    def slow_down(self, state: PaceState, now: float) -> PaceState:
        """Return the state after an H124; several of one burst count once."""
        if now < state.paused_until:
            return state
        resume_at = now + self.pause
        return PaceState(
            free_at=max(state.free_at, resume_at),
            factor=max(self.slowest, state.factor / 2),
            paused_until=resume_at,
        )


@dataclass(order=True, slots=True)
class _Waiter:
    call_class: CallClass
    number: int
    granted: asyncio.Future[None] = field(compare=False)


class InProcessPacer:
    """The pacer of one process: fit where a single process leaves from the address."""

    def __init__(
        self,
        pace: Pace,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pace = pace
        self._clock = clock
        self._sleep = sleep
        self._state = PaceState(free_at=clock())
        self._waiting: list[_Waiter] = []
        self._numbers = count()
        self._slots = count(1)
        self._granting: asyncio.Task[None] | None = None

    async def wait(self, call_class: CallClass) -> None:
        """Return when a call of this class may leave; a waiting RET goes before waiting bulk."""
        granted = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiter(call_class, next(self._numbers), granted))
        if self._granting is None or self._granting.done():
            self._granting = asyncio.create_task(self._grant(), name="iys-pacer")
        await granted

    async def throttled(self) -> None:
        """Pause, then go on at half the pace."""
        self._state = self._pace.slow_down(self._state, self._clock())

    async def _grant(self) -> None:
        try:
            while self._drop_cancelled():
                await self._slot()
                waiter = self._next_waiter()
                if waiter is not None:
                    waiter.granted.set_result(None)
        except Exception as error:  # noqa: BLE001 - it goes to whoever waits
            # Without this, whoever waits would wait for ever.
            for waiter in self._waiting:
                waiter.granted.set_exception(error)
            self._waiting.clear()

    async def _slot(self) -> None:
        while True:
            self._state, instant = self._pace.next_slot(self._state, self._clock())
            while (ahead := instant - self._clock()) > 0:
                await self._sleep(ahead)
            if self._clock() < self._state.paused_until:
                continue
            if not self._pace.is_forfeited(instant, self._clock()):
                return

    def _next_waiter(self) -> _Waiter | None:
        """Take out whoever goes now, chosen when the slot has come: a late RET still goes first."""
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
