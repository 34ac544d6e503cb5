"""İYS for tests: its codes, and what a client needs beside the ledger: a pacer, a token store."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from izin.iys.rate_limit import CallClass, CallQueue, Pace, PaceState, Slot
from izin.iys.tokens import TokenLease, TokenState

CORE_CODES = re.findall(
    r"H\d{3}",
    """
    H001 H014 H015 H016 H017 H018 H031 H058 H060 H061 H062 H067 H082 H083 H084 H085 H086 H089
    H090 H091 H092 H093 H095 H097 H098 H100 H101 H102 H103 H105 H106 H107 H110 H111 H112 H113
    H114 H115 H116 H117 H118 H119 H120 H121 H122 H123 H124 H125 H126 H127 H129 H155 H156 H157
    H158 H160 H162 H163 H164 H166 H168 H169 H170 H171 H172 H173 H174 H175 H176 H178 H179 H180
    H181 H182 H183 H184 H185 H186 H187 H190 H191 H192 H193 H194 H195 H196 H197 H198 H199 H201
    H214 H215 H216 H217 H218 H219 H220 H221 H222 H224 H225 H226 H227 H228 H229 H230 H231 H241
    H243 H244 H245 H250 H251 H252 H253 H266 H267 H268 H288 H351 H353 H355 H363 H400 H401 H402
    H403 H404 H405 H408 H412 H437 H450 H452 H453 H454 H455 H456 H459 H460 H462 H463 H464 H465
    H467 H470 H476 H478 H486 H501 H502 H506 H507 H512 H520 H521 H522 H524 H525 H530 H531 H568
    H586
    """,
)
"""The core API's, H0xx to H5xx (version 3.2.0): its table of codes merged with all its examples."""

OF_A_RECORD = re.findall(
    r"H\d{3}",
    """
    H014 H085 H091 H092 H110 H111 H112 H113 H114 H115 H116 H117 H118 H119 H120 H121 H122 H125 H126
    H155 H156 H157 H158 H160 H162 H163 H166 H170 H174 H175 H178 H180 H194 H267 H408 H462 H463 H464
    H467 H486 H525
    """,
)
"""What a record, alone or in a batch, can be refused for because of its content."""

NOT_A_VIOLATION = {
    "H014": "our client writes the body, never a person",
    "H085": "our client writes the body, never a person",
    "H092": "our client writes the body, never a person",
    "H091": "a batch has at most 1000 records",
    "H125": "a batch has at most 1000 records",
    "H166": "the same bound in queries: H160 has refused the number before",
    "H170": "an empty recipient type is BIREYSEL, so every query carries one",
    "H174": "the obligation's table: a RET that İYS holds is settled, and not sent",
    "H175": "the obligation's table: where İYS holds nothing, nothing is withdrawn",
    "H178": "the order of the law; and İYS's answer is read back and compared",
    "H180": "İYS alone knows a brand's retailers: its answer parks the record",
    "H194": "a batch has one record of a key",
    "H267": "a retailer code is a number or absent in our contract, never an empty text",
    "H462": "the obligation's table: a merchant's update without a date is parked",
    "H463": "the obligation's table: a merchant's update without a source is parked",
    "H467": "the clocks: it depends on the brand's activation and on the day of the submission",
    "H486": "the obligation's table: as H175, for HS_KARAR",
    "H525": "İYS alone counts the quota: its answer suspends new consents",
}
"""Why a code of a record cannot happen, or where it is handled, if no violation has it."""


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


class InMemoryTokenStore:
    """The store of a single process, and of tests."""

    def __init__(self, state: TokenState | None = None) -> None:
        self.state = state or TokenState()
        self._lock = asyncio.Lock()

    async def read(self) -> TokenState:
        """Return the state."""
        return self.state

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[TokenLease]:
        """Hold the lock."""
        async with self._lock:
            yield TokenLease(self.state, self._store)

    async def _store(self, state: TokenState) -> None:
        self.state = state
