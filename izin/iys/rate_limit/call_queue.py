"""Which waiting call of a process gets the next slot.

Opt-outs go first, then calls that are nearly due. The other classes share the rest by weight, so
that results are polled while bulk is submitted, and neither pull nor sweep starves. One slot of
four goes to the call that has waited longest, of any class, and counts against the share of its
class: opt-outs that could use every slot go by batch, and some wait for calls that settle opt-ins.
The choice is made when the slot begins: an opt-out that is queued late still goes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from izin.iys.rate_limit.pace import CallClass, Slot

AHEAD = (CallClass.RET, CallClass.DUE)
"""The classes that precede all others, in this order."""
SHARES: Mapping[CallClass, int] = {
    CallClass.BULK: 4,
    CallClass.RESULTS: 8,
    CallClass.PULL: 1,
    CallClass.SWEEP: 1,
}
"""The weights of the others. A batch costs at least one result query, and some fail: with no more
than the share of bulk, results would fall behind it further and further.
"""


@dataclass(frozen=True, slots=True, eq=False)
class QueuedCall:
    """A call that waits for its slot."""

    number: int
    granted: asyncio.Future[Slot]


@dataclass(slots=True, kw_only=True)
class CallQueue:
    """The waiting calls of a process, by class."""

    longest_waiting_every: int
    _waiting: dict[CallClass, deque[QueuedCall]] = field(
        default_factory=lambda: {one: deque() for one in CallClass}
    )
    _passes: dict[CallClass, float] = field(default_factory=lambda: dict.fromkeys(SHARES, 0.0))
    _now: float = 0.0
    """The pass of the last call served: a class gains no credit while it is idle."""
    _numbers: count[int] = field(default_factory=count)
    _slots: count[int] = field(default_factory=lambda: count(1))

    def put(self, call_class: CallClass, granted: asyncio.Future[Slot]) -> None:
        """Queue a call; ``granted`` is resolved with its slot."""
        waiting = self._waiting[call_class]
        if call_class in self._passes and not waiting:
            self._passes[call_class] = max(self._passes[call_class], self._now)
        waiting.append(QueuedCall(next(self._numbers), granted))

    def is_anyone_waiting(self) -> bool:
        """Whether a call waits that has not been cancelled."""
        for waiting in self._waiting.values():
            while waiting and waiting[0].granted.done():
                waiting.popleft()
        return any(self._waiting.values())

    def grant(self, slot: Slot) -> bool:
        """Grant ``slot`` to the next call; return False if none waits any more."""
        if not self.is_anyone_waiting():
            return False
        self._waiting[self._next()].popleft().granted.set_result(slot)
        return True

    def fail(self, error: BaseException) -> None:
        """Fail every waiting call with ``error``: no further slot will come."""
        for waiting in self._waiting.values():
            for waiter in waiting:
                if waiter.granted.done():
                    continue
                if isinstance(error, Exception):
                    waiter.granted.set_exception(error)
                else:
                    waiter.granted.cancel()
            waiting.clear()

    def _next(self) -> CallClass:
        found = {one: waiting[0] for one, waiting in self._waiting.items() if waiting}
        if next(self._slots) % self.longest_waiting_every == 0:
            return self._charge(min(found, key=lambda one: found[one].number))
        for call_class in AHEAD:
            if call_class in found:
                return call_class
        chosen = min(found, key=lambda one: (self._passes[one], one))
        self._now = self._passes[chosen]
        return self._charge(chosen)

    def _charge(self, chosen: CallClass) -> CallClass:
        """Count a slot against the share of its class, and return the class."""
        if chosen in self._passes:
            self._passes[chosen] += 1 / SHARES[chosen]
        return chosen
