"""At most ten requests a second leave an address, over all methods together (reference section 6).

Grants are time slots. A slot not used within 20 ms is forfeited, for a late request would crowd the
next ones into one second; so any ``rate + 1`` uses lie at least a second apart. When İYS says H124
all the same, everybody pauses, goes on at half the pace and creeps up again. The policy and its
arithmetic are pure: seconds of one monotonic clock go in and come out. Who takes a slot
that has come, ``turns`` tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


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

    async def wait(self, call_class: CallClass, operation: str) -> None:
        """Return when a call of this class may leave, which must then happen at once.

        Raises ThrottledError where the hour's calls of ``operation`` are spent.
        """

    def answered(self, operation: str, code: str, *, failed: bool) -> None:
        """Note what came of a call: İYS's code, or the HTTP status; whether it counts against the
        address.
        """

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
