"""The pacer of a single process behind its address, for tools and tests."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from izin.iys.rate_limit.call_queue import CallQueue
from izin.iys.rate_limit.pace import CallClass, Pace, PaceState, Slot


class InProcessPacer:
    """Paces one process; hourly and daily limits are not counted."""

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
        self._queue = CallQueue(longest_waiting_every=pace.longest_waiting_every)
        self._granting: asyncio.Task[None] | None = None

    async def wait(self, call_class: CallClass, operation: str) -> Slot:
        """Wait for and return the slot of a call; a waiting RET precedes waiting bulk."""
        del operation  # no hourly limit here
        granted: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._queue.put(call_class, granted)
        if self._granting is None or self._granting.done():
            self._granting = asyncio.create_task(self._grant(), name="iys-pacer")
        return await granted

    async def until(self, slot: Slot) -> None:
        """Do nothing: a slot is granted when it begins."""

    def is_over(self, slot: Slot) -> bool:
        """Whether ``slot`` may no longer be used; if so, it is given back."""
        is_paused = self._clock() < self._state.paused_until
        if not is_paused and not self._pace.is_forfeited(slot.at, self._clock()):
            return False
        self._state = self._pace.arrived(self._state, slot.number)
        return True

    def left(self, slot: Slot) -> Slot:
        """Note that the call of ``slot`` is sent; return the slot, moved if it was late."""
        late = self._pace.as_left(slot, self._clock())
        self._state = self._pace.arrived(self._state, slot.number, self._pace.arrived_at(late))
        return late

    def arrived(self, slot: Slot) -> None:
        """Note that the call of ``slot`` has arrived by now."""
        arrived_at = self._pace.arrived_at(slot, self._clock())
        self._state = self._pace.arrived(self._state, slot.number, arrived_at)

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Do nothing: a single process keeps no statistics."""

    async def throttled(self) -> None:
        """Pause, then continue at half the pace."""
        self._state = self._pace.slow_down(self._state, self._clock())

    async def _grant(self) -> None:
        try:
            while self._queue.is_anyone_waiting():
                slot = await self._slot()
                if not self._queue.grant(slot):
                    self._state = self._pace.arrived(self._state, slot.number)
        except BaseException as error:  # also a cancellation: whoever waits is woken
            self._queue.fail(error)
            if not isinstance(error, Exception):
                raise

    async def _slot(self) -> Slot:
        while True:
            self._state, slot = self._pace.next_slot(self._state, self._clock())
            while (ahead := slot.at - self._clock()) > 0:
                await self._sleep(ahead)
            if not self.is_over(slot):
                return slot
