"""When a call may leave an address: ten requests a second, hourly limits, the success rate; and not
while İYS does not answer.

At most ten requests a second come from one address, over all methods together (reference section
6). Grants are numbered time slots. İYS counts when requests arrive, which is uncertain by some 80
ms; but a request that was answered has arrived. So a slot begins one second after the first certain
arrival of the last ten uses: at its answer, or at the latest the network allows. A slot that is not
used within 60 ms is given back. After an H124 every process pauses, continues at half the pace and
recovers slowly. The policy is pure: seconds of one monotonic clock go in and come out. The ledger
grants the slots by it (``take_slot``).

İYS also limits single status queries and histories by the hour. Where an address makes 20,000
requests or more in 24 hours and fewer than 70 % succeed, it is warned and after 96 hours blocked.
So from half of that number on, calls slow down below 80 %, and bulk stops below 75 %. Failures are
the statuses that İYS counts: 400, 401, 403, 404, 422, not 429 or 5xx.

Of the waiting calls of a process opt-outs go first, then calls that are nearly due. The other
classes share the rest by weight, so that results are polled while bulk is submitted, and neither
pull nor sweep starves. One slot of four goes to the call that has waited longest, of any class, and
counts against the share of its class: opt-outs that could use every slot go by batch, and some wait
for calls that settle opt-ins. The choice is made when the slot begins: an opt-out that is queued
late still goes first.

Each operation has a circuit breaker as well.

After several calls of an operation in a row without an answer, or with "busy", its circuit opens
for a pause that doubles up to 5 seconds: an opt-out must not wait longer than that once İYS is
back. Then one call is let through, and an answer closes the circuit; any answer will do, a refusal
too. So an outage of days costs twelve calls a minute, and no record is claimed only to be put back.
While no token may be requested, all circuits are open.

Where İYS answers nothing at all, the network of this process may be at fault. Fewer calls then open
a circuit, and leave to other processes what this one would only hold back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from itertools import count
from math import inf
from typing import Protocol

SLOTS = 10
"""The most arrivals within one span; at İYS's rate the span is a second."""
FAILURES = frozenset({400, 401, 403, 404, 422})
"""The HTTP statuses that count against the address."""
STATUS = "status"
"""The operation of single status queries (H086)."""
HISTORY = "history"
"""The operation of İYS's own history of a key (H089)."""


class CallClass(IntEnum):
    """How urgent a call is; the lowest number goes first."""

    RET = 0
    """An opt-out, and what others depend on: a token, a status query before a resend."""
    DUE = 1
    """An ONAY with a close deadline."""
    BULK = 2
    RESULTS = 3
    PULL = 4
    SWEEP = 5
    """Multi-status queries, brands, subscriptions, push connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A granted slot, in seconds of the pacer's clock."""

    number: int
    at: float
    opens_at: float
    """Nothing is sent before."""


class Pacer(Protocol):
    """Grants the slots of an address to all calls that are sent from it."""

    async def wait(self, call_class: CallClass, operation: str) -> Slot:
        """Wait for and return the slot in which a call of this class may be sent. It begins within
        ``Pace.ahead`` seconds, for the call to be prepared.

        Raises:
            ThrottledError: the hourly limit of ``operation`` is reached.
        """

    async def until(self, slot: Slot) -> None:
        """Wait until ``slot`` begins; its call must then be sent at once."""

    def is_over(self, slot: Slot) -> bool:
        """Whether ``slot`` may no longer be used; if so, it is given back."""

    def left(self, slot: Slot) -> Slot:
        """Note that the call of ``slot`` is completely sent; return the slot, moved to that instant
        if it was late, for the calls that follow.
        """

    def arrived(self, slot: Slot) -> None:
        """Note that the call of ``slot`` was answered, or not sent at all."""

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Count a call by its code or HTTP status; ``failed``: it counts against the address."""

    async def throttled(self) -> None:
        """Slow down: İYS answered "too many this second"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The policy. ``rate`` is İYS's limit, requests a second; times are seconds."""

    rate: float = 10.0
    forfeit_after: float = 0.06
    spread: float = 0.08
    """How long a request may take to arrive."""
    ahead: float = 0.01
    """How long before its beginning a slot is granted, for the call to be prepared."""
    closest: float = 0.9
    """The least distance of two uses, as a fraction of the even distance."""
    pause: float = 1.0
    slowest: float = 0.1
    recovery: float = 0.02
    """The fraction of the full pace regained with every slot."""
    longest_waiting_every: int = 4

    @property
    def interval(self) -> float:
        """The least distance of two slots at full pace."""
        return self.closest / self.rate

    @property
    def span(self) -> float:
        """The time within which at most ``SLOTS`` requests may arrive."""
        return SLOTS / self.rate

    @property
    def arrives_within(self) -> float:
        """How long after its slot a use has certainly arrived, even without an answer."""
        return self.forfeit_after + self.spread

    def arrived_at(self, slot: Slot, answered_at: float = inf) -> float:
        """Return by when the use of a slot has certainly arrived."""
        return min(answered_at, slot.at + self.arrives_within)

    def as_left(self, slot: Slot, now: float) -> Slot:
        """Return ``slot``, moved so that a use sent ``now`` is just in time: connecting may have
        taken long, or the process was delayed.
        """
        return replace(slot, at=max(slot.at, now - self.forfeit_after))

    def is_forfeited(self, instant: float, now: float) -> bool:
        """Whether the slot of ``instant`` may no longer be used."""
        return now - instant > self.forfeit_after


class Reputation(StrEnum):
    """The reputation of an address at İYS."""

    GOOD = "good"
    WARNING = "warning"
    """Calls slow down, and an alert is raised."""
    CRITICAL = "critical"
    """Nothing is submitted in bulk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReputationPolicy:
    """The thresholds. Rates are the fractions of calls that succeeded in 24 hours."""

    counts_from: int = 10_000
    warning_below: float = 0.80
    critical_below: float = 0.75
    slowed: float = 0.5
    """The fraction of the full pace below ``warning_below``."""

    def of(self, calls: int, failures: int) -> Reputation:
        """Return the reputation after so many calls and failures in 24 hours."""
        if calls < self.counts_from:
            return Reputation.GOOD
        rate = 1 - failures / calls
        if rate < self.critical_below:
            return Reputation.CRITICAL
        return Reputation.WARNING if rate < self.warning_below else Reputation.GOOD

    def fastest(self, reputation: Reputation) -> float:
        """Return the fraction of the full pace that may be used."""
        return 1.0 if reputation is Reputation.GOOD else self.slowed


@dataclass(frozen=True, slots=True, kw_only=True)
class HourLimit:
    """How many calls of one kind İYS accepts in an hour; a part is ``reserved`` for opt-outs."""

    calls: int
    reserved: float = 0.2

    def room(self, call_class: CallClass) -> int:
        """Return up to how many calls in the hour a class may be sent."""
        reserved = 0 if call_class is CallClass.RET else self.reserved
        return int(self.calls * (1 - reserved))


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


class CircuitState(StrEnum):
    """Whether a call may be made."""

    CLOSED = "closed"
    """Calls are made."""
    HALF_OPEN = "half-open"
    """One call may be made, to see whether İYS answers again."""
    OPEN = "open"
    """No call may be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreakerPolicy:
    """When a circuit opens, and for how many seconds."""

    opens_after: int = 5
    opens_in_silence_after: int = 2
    """Where İYS has answered no call of any operation for the deadline of one."""
    unreachable_after: int = 3
    """So many calls in a row without an answer, of whatever operation: İYS is unreachable."""
    first_pause: float = 1.0
    longest_pause: float = 5.0
    without_token: float = 60.0
    """The longest pause of all operations while no token can be had."""

    def pause(self, failures: int, *, in_silence: bool = False) -> float:
        """Return how long a circuit stays open after ``failures`` in a row; 0: not at all."""
        opens_after = self.opens_in_silence_after if in_silence else self.opens_after
        if failures < opens_after:
            return 0.0
        doublings = min(failures - opens_after, 20)
        return min(self.longest_pause, self.first_pause * float(2**doublings))


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0
    is_probing: bool = False

    def state(self, now: float) -> CircuitState:
        if not self.open_until:
            return CircuitState.CLOSED
        if self.is_probing or now < self.open_until:
            return CircuitState.OPEN
        return CircuitState.HALF_OPEN


@dataclass(slots=True, kw_only=True)
class CircuitBreakers:
    """The circuit breakers of one process, by operation."""

    policy: CircuitBreakerPolicy = field(default_factory=CircuitBreakerPolicy)
    _circuits: dict[str, _Circuit] = field(default_factory=dict)
    _all_open_until: float = 0.0
    _answered_at: float = 0.0
    """When İYS last answered a call, of whatever operation."""
    is_silent: bool = False
    """Whether a call failed when İYS had answered none for a whole deadline, and none since: the
    network of this process may be at fault.
    """
    _unanswered: int = 0
    """How many calls in a row were not answered, of whatever operation."""

    @property
    def is_unreachable(self) -> bool:
        """Whether several calls in a row were not answered, and none since."""
        return self._unanswered >= self.policy.unreachable_after

    def state(self, operation: str, now: float) -> CircuitState:
        """Return whether a call of ``operation`` may be made."""
        if now < self._all_open_until:
            return CircuitState.OPEN
        return self._of(operation).state(now)

    def closes_in(self, operation: str, now: float) -> float:
        """Return after how many seconds ``operation`` may be tried again."""
        return max(0.0, self._all_open_until - now, self._of(operation).open_until - now)

    def begin(self, operation: str, now: float) -> bool:
        """Begin a call; return False if it may not be made."""
        state = self.state(operation, now)
        if state is CircuitState.HALF_OPEN:
            self._of(operation).is_probing = True
        return state is not CircuitState.OPEN

    def answered(self, operation: str, now: float) -> None:
        """Close the circuit: İYS responded, with whatever status."""
        self._note_answer(now)
        self._circuits.pop(operation, None)

    def busy(self, operation: str, now: float) -> None:
        """Count a call that İYS answered with "busy"."""
        self._note_answer(now)
        self._count(operation, now, in_silence=False)

    def unanswered(self, operation: str, now: float, *, within: float) -> None:
        """Count a call that was not answered; ``within`` is its deadline, in seconds."""
        if self._answered_at < now - within:
            self.is_silent = True
        self._unanswered += 1
        self._count(operation, now, in_silence=self.is_silent)

    def _count(self, operation: str, now: float, *, in_silence: bool) -> None:
        """Count a failed call. One that was under way when the circuit opened adds nothing: it has
        failed with the others.
        """
        circuit = self._of(operation)
        if now < circuit.open_until and not circuit.is_probing:
            return
        circuit.failures += 1
        circuit.is_probing = False
        pause = self.policy.pause(circuit.failures, in_silence=in_silence)
        circuit.open_until = now + pause if pause else 0.0

    def throttled(self, operation: str, now: float) -> None:
        """Note that a call was one too many: İYS answers, though not what was asked."""
        self._note_answer(now)
        self.abandoned(operation)

    def abandoned(self, operation: str) -> None:
        """Note that a call ended without showing whether İYS answers."""
        self._of(operation).is_probing = False

    def open_all(self, seconds: float, now: float) -> None:
        """Open all circuits, for a minute at most: no token can be had."""
        until = now + min(seconds, self.policy.without_token)
        self._all_open_until = max(self._all_open_until, until)

    def _note_answer(self, now: float) -> None:
        self._answered_at = now
        self.is_silent = False
        self._unanswered = 0

    def _of(self, operation: str) -> _Circuit:
        return self._circuits.setdefault(operation, _Circuit())
