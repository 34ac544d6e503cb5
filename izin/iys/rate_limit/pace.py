"""At most ten requests a second leave an address, over all methods together (reference section 6).

Grants are numbered time slots. İYS counts when requests arrive, which on the way is a chance of
some 80 ms; but a request that was answered had arrived. So a slot comes a second after whichever of
the last ten uses had surely arrived first: at its answer, or at the latest the network allows.
What such a wait held up is caught up as soon as arrivals allow. A slot not used within 60 ms is
given back. When İYS says H124 all the same, everybody pauses, goes on at half the pace and creeps
up again. The policy and its arithmetic are pure: seconds of one monotonic clock go in and come out.
Who takes a slot that has come, ``turns`` tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from math import inf
from typing import NamedTuple, Protocol

SLOTS = 10
"""So many arrivals a span of time may hold; at İYS's rate the span is a second."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot that was granted; where two clocks leave doubt, its instant lies between two."""

    number: int
    at: float
    opens_at: float
    """Nothing leaves before."""


class Pacer(Protocol):
    """Lets calls out at the pace of an address; shared by all that leave from it."""

    async def wait(self, call_class: CallClass, operation: str) -> Slot:
        """Return the slot in which a call of this class may leave; it comes at once, or within
        ``Pace.ahead``, in which the call is made ready.

        Raises ThrottledError where the hour's calls of ``operation`` are spent.
        """

    async def until(self, slot: Slot) -> None:
        """Return when ``slot`` has come; its call must then leave at once."""

    def is_over(self, slot: Slot) -> bool:
        """Whether ``slot`` may no longer be used; it is given back then."""

    def left(self, slot: Slot) -> Slot:
        """Note that the use of ``slot`` is wholly on its way; return the slot as late as that was,
        for what is noted of it from here on.
        """

    def arrived(self, slot: Slot) -> None:
        """Note that the use of ``slot`` is answered, or was none: it arrives no more."""

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Note what came of a call: İYS's code, or the HTTP status; whether it counts against the
        address.
        """

    async def throttled(self) -> None:
        """Note that İYS said "too many this second"."""


class Use(NamedTuple):
    """The use of a slot, and by when it has surely arrived; a slot given back arrived at -inf."""

    number: int
    there_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceState:
    """Where an address stands: its next free slot, and which part of the full pace it dares."""

    free_at: float = 0.0
    factor: float = 1.0
    paused_until: float = 0.0
    number: int = 0
    """Of the last slot."""
    uses: tuple[Use, ...] = (Use(0, -inf),) * SLOTS
    """The ``SLOTS`` uses that arrived last, in no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The policy. ``rate`` is İYS's limit, requests a second; the other times are seconds."""

    rate: float = 10.0
    forfeit_after: float = 0.06
    spread: float = 0.08
    """How much later than it left a request may arrive."""
    ahead: float = 0.01
    """How long before a slot comes it is given to a call, which is made ready meanwhile."""
    closest: float = 0.9
    """Of the even distance of uses, how close two may come that nothing held up."""
    pause: float = 1.0
    slowest: float = 0.1
    creep: float = 0.02
    """Of the full pace, regained with every slot."""
    longest_waiting_every: int = 10

    @property
    def interval(self) -> float:
        """The least distance of slots at full pace."""
        return self.closest / self.rate

    @property
    def span(self) -> float:
        """The time that holds ``SLOTS`` arrivals at most."""
        return SLOTS / self.rate

    @property
    def arrives_within(self) -> float:
        """How long after its slot's instant a use has surely arrived, though nobody answers."""
        return self.forfeit_after + self.spread

    def next_slot(self, state: PaceState, now: float) -> tuple[PaceState, Slot]:
        """Return the state after granting the next slot, and that slot.

        Whichever use arrived first makes room for the new one, so of all that may lie within a span
        of the new arrival nine at most are left, in whatever order they arrived.
        """
        number = state.number + 1
        first = min(state.uses, key=lambda use: use.there_at)
        at = max(state.free_at, now, first.there_at + self.span)
        uses = list(state.uses)
        slot = Slot(number=number, at=at, opens_at=at)
        uses[uses.index(first)] = Use(number, self.there_at(slot))
        taken = PaceState(
            free_at=max(state.free_at + self.interval / state.factor, at),
            factor=min(1.0, state.factor + self.creep),
            paused_until=state.paused_until,
            number=number,
            uses=tuple(uses),
        )
        return taken, slot

    def there_at(self, slot: Slot, answered_at: float = inf) -> float:
        """Return by when the use of a slot has surely arrived."""
        return min(answered_at, slot.at + self.arrives_within)

    def as_left(self, slot: Slot, now: float) -> Slot:
        """Return the slot as if used just in time, where its use only leaves ``now``: a connection
        had to be made first, or the process was held up.
        """
        return replace(slot, at=max(slot.at, now - self.forfeit_after))

    def arrived(self, state: PaceState, number: int, at: float = -inf) -> PaceState:
        """Return the state once it is known by when the use of a slot has arrived; by default it
        was not used and arrives never.

        One that arrives later than was sure, after its place was given to another, is one of the
        last ten all the same: it takes the place of whichever arrived first.
        """
        told = Use(number, at)
        if all(use.number != number for use in state.uses):
            first = min(state.uses, key=lambda use: use.there_at)
            number = first.number if first.there_at < at else number
        uses = (told if use.number == number else use for use in state.uses)
        return replace(state, uses=tuple(uses))

    def is_forfeited(self, instant: float, now: float) -> bool:
        """Return whether the slot of ``instant`` may no longer be used."""
        return now - instant > self.forfeit_after

    def slow_down(self, state: PaceState, now: float) -> PaceState:
        """Return the state after an H124; several of one burst count once."""
        if now < state.paused_until:
            return state
        resume_at = now + self.pause
        return replace(
            state,
            free_at=max(state.free_at, resume_at),
            factor=max(self.slowest, state.factor / 2),
            paused_until=resume_at,
        )
