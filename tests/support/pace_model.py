"""The arithmetic of slots as a pure function, with which the ledger's ``take_slot`` is compared."""

from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from izin.iys.rate_limit import SLOTS, Pace, Slot


class Use(NamedTuple):
    """The use of a slot, and by when it has certainly arrived: -inf for a slot given back."""

    number: int
    arrived_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceState:
    """The state of an address: its next free slot, and the fraction of the full pace it uses."""

    free_at: float = 0.0
    factor: float = 1.0
    number: int = 0
    """Of the last slot."""
    uses: tuple[Use, ...] = (Use(0, -inf),) * SLOTS
    """The last ``SLOTS`` uses by arrival, unordered."""

    def replaced(self, number: int, use: Use) -> tuple[Use, ...]:
        """Return the uses with ``use`` in place of that of slot ``number``."""
        return tuple(use if one.number == number else one for one in self.uses)

    @property
    def first(self) -> Use:
        """The use that arrived first."""
        return min(self.uses, key=lambda use: use.arrived_at)


def next_slot(pace: Pace, state: PaceState, now: float) -> tuple[PaceState, Slot]:
    """Return the state after granting the next slot, and that slot.

    The new use replaces the one that arrived first, so at most nine others can lie within a span of
    the new arrival, in whatever order they arrived.
    """
    number, first = state.number + 1, state.first
    at = max(state.free_at, now, first.arrived_at + pace.span)
    slot = Slot(number=number, at=at, opens_at=at)
    place = state.uses.index(first)
    use = Use(number, pace.arrived_at(slot))
    taken = PaceState(
        free_at=max(state.free_at + pace.interval / state.factor, at),
        factor=min(1.0, state.factor + pace.recovery),
        number=number,
        uses=(*state.uses[:place], use, *state.uses[place + 1 :]),
    )
    return taken, slot


def arrived(state: PaceState, number: int, at: float = -inf) -> PaceState:
    """Return the state with the arrival of the use of a slot; by default it was not used.

    A use that arrives later than certain, after another has replaced it, still is one of the last
    ten: it replaces the one that arrived first.
    """
    use, first = Use(number, at), state.first
    if all(one.number != number for one in state.uses) and first.arrived_at < at:
        number = first.number
    return replace(state, uses=state.replaced(number, use))
