"""Who of a process's waiting calls leaves next, when a slot has come.

Opt-outs go first, then whatever is nearly due. The rest share what is left by weight, so that
results are asked for while bulk is told, and neither pulling nor sweeping is starved. One slot of
ten goes to whoever has waited longest, whatever its class, and counts as its own: else bulk, of
which something waits longest nearly always, would get more than its share. Chosen only when the
slot is there: an opt-out that comes late still goes first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from izin.iys.rate_limit.pace import CallClass

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from izin.iys.rate_limit.pace import Slot

AHEAD = (CallClass.RET, CallClass.DUE)
"""Classes that go before all others, in this order."""
SHARES: Mapping[CallClass, int] = {
    CallClass.BULK: 4,
    CallClass.RESULTS: 4,
    CallClass.PULL: 1,
    CallClass.SWEEP: 1,
}
"""What each of the others gets of the slots that are left. A batch costs a result query at least,
so the two weigh alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A call that waits for its turn."""

    number: int
    granted: asyncio.Future[Slot]


@dataclass(slots=True, kw_only=True)
class Turns:
    """The waiting calls of a process."""

    longest_waiting_every: int
    _waiting: dict[CallClass, deque[Waiter]] = field(
        default_factory=lambda: {one: deque() for one in CallClass}
    )
    _passes: dict[CallClass, float] = field(default_factory=lambda: dict.fromkeys(SHARES, 0.0))
    _now: float = 0.0
    """The pass of whoever went last: who comes after a pause saves no turns up."""
    _numbers: count[int] = field(default_factory=count)
    _slots: count[int] = field(default_factory=lambda: count(1))

    def queue(self, call_class: CallClass, granted: asyncio.Future[Slot]) -> None:
        """Have a call wait for ``granted``, which tells its slot."""
        waiting = self._waiting[call_class]
        if call_class in self._passes and not waiting:
            self._passes[call_class] = max(self._passes[call_class], self._now)
        waiting.append(Waiter(next(self._numbers), granted))

    def is_anyone_waiting(self) -> bool:
        """Whether a call waits that has not been given up."""
        for waiting in self._waiting.values():
            while waiting and waiting[0].granted.done():
                waiting.popleft()
        return any(self._waiting.values())

    def grant(self, slot: Slot) -> bool:
        """Let whoever's turn it is go in ``slot``; False if nobody waits any more."""
        if not self.is_anyone_waiting():
            return False
        call_class = self._chosen()
        self._waiting[call_class].popleft().granted.set_result(slot)
        return True

    def fail(self, error: BaseException) -> None:
        """Tell everybody that there are no turns any more, for else they would wait for ever."""
        for waiting in self._waiting.values():
            for waiter in waiting:
                if waiter.granted.done():
                    continue
                if isinstance(error, Exception):
                    waiter.granted.set_exception(error)
                else:
                    waiter.granted.cancel()
            waiting.clear()

    def _chosen(self) -> CallClass:
        found = {one: waiting[0] for one, waiting in self._waiting.items() if waiting}
        if next(self._slots) % self.longest_waiting_every == 0:
            return self._pay(min(found, key=lambda one: found[one].number))
        for call_class in AHEAD:
            if call_class in found:
                return call_class
        chosen = min(found, key=lambda one: (self._passes[one], one))
        self._now = self._passes[chosen]
        return self._pay(chosen)

    def _pay(self, chosen: CallClass) -> CallClass:
        """Count a turn against the share of its class, where that has one."""
        if chosen in self._passes:
            self._passes[chosen] += 1 / SHARES[chosen]
        return chosen
