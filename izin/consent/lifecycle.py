"""The life of an obligation: what a key still owes İYS, from the wish to İYS's word.

An obligation is (key, desired event). It is one table, :data:`TRANSITIONS`; what is not in it is an
error that changes nothing. The picture in the documentation is drawn from the table.

Nothing is dropped: what İYS does not take is ``refused``, ``expired`` or waits as ``parked`` for
a person. A lost answer is ``unknown``, never "failed": İYS may have saved the record, so it is
asked before anything is sent again. When a newer event changes what is desired, the old
obligation is ``superseded`` and the same row begins anew with ``desire``.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from izin.consent.errors import IllegalTransitionError

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where an obligation stands."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    """A call that carries it has begun and has not ended."""
    AWAITING_RESULT = "awaiting_result"
    """İYS took the batch that carries it (202), which is not "saved"."""
    UNKNOWN = "unknown"
    """It was told, and the answer is lost."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETRYABLE = "retryable"
    PARKED = "parked"
    """A person must act."""
    EXPIRED = "expired"
    """The three business days are over (m.7/12): a new consent is needed."""
    SUPERSEDED = "superseded"
    NOT_NEEDED = "not_needed"
    """İYS holds it already, or has nothing to withdraw."""


class Event(StrEnum):
    """What can happen to an obligation."""

    CLAIM = "claim"
    TAKE = "take"
    """İYS answered 202 to the batch."""
    ACCEPT = "accept"
    REFUSE = "refuse"
    FAIL = "fail"
    """A transient fault; İYS certainly saved nothing."""
    LOSE = "lose"
    """No answer, or none in time."""
    FIND_ABSENT = "find_absent"
    """İYS, asked, does not hold it."""
    FIND_SETTLED = "find_settled"
    """İYS holds what is desired, by whomever it was told."""
    PARK = "park"
    REQUEUE = "requeue"
    """A person sends it again."""
    EXPIRE = "expire"
    SUPERSEDE = "supersede"
    """A newer event changed what is desired."""
    DESIRE = "desire"
    """A new obligation begins in the row of one that has ended."""


BEGINNING = State.PENDING

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.PENDING, Event.CLAIM): State.IN_FLIGHT,
        (State.PENDING, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.PENDING, Event.PARK): State.PARKED,
        (State.PENDING, Event.EXPIRE): State.EXPIRED,
        (State.PENDING, Event.SUPERSEDE): State.SUPERSEDED,
        (State.IN_FLIGHT, Event.TAKE): State.AWAITING_RESULT,
        (State.IN_FLIGHT, Event.ACCEPT): State.ACCEPTED,
        (State.IN_FLIGHT, Event.REFUSE): State.REFUSED,
        (State.IN_FLIGHT, Event.FAIL): State.RETRYABLE,
        (State.IN_FLIGHT, Event.LOSE): State.UNKNOWN,
        (State.IN_FLIGHT, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.IN_FLIGHT, Event.PARK): State.PARKED,
        (State.IN_FLIGHT, Event.EXPIRE): State.EXPIRED,
        (State.IN_FLIGHT, Event.SUPERSEDE): State.SUPERSEDED,
        (State.AWAITING_RESULT, Event.ACCEPT): State.ACCEPTED,
        (State.AWAITING_RESULT, Event.REFUSE): State.REFUSED,
        (State.AWAITING_RESULT, Event.FAIL): State.RETRYABLE,
        (State.AWAITING_RESULT, Event.LOSE): State.UNKNOWN,
        (State.AWAITING_RESULT, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.AWAITING_RESULT, Event.PARK): State.PARKED,
        (State.AWAITING_RESULT, Event.EXPIRE): State.EXPIRED,
        (State.AWAITING_RESULT, Event.SUPERSEDE): State.SUPERSEDED,
        (State.UNKNOWN, Event.ACCEPT): State.ACCEPTED,
        (State.UNKNOWN, Event.REFUSE): State.REFUSED,
        (State.UNKNOWN, Event.FIND_ABSENT): State.RETRYABLE,
        (State.UNKNOWN, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.UNKNOWN, Event.PARK): State.PARKED,
        (State.UNKNOWN, Event.EXPIRE): State.EXPIRED,
        (State.UNKNOWN, Event.SUPERSEDE): State.SUPERSEDED,
        (State.RETRYABLE, Event.CLAIM): State.IN_FLIGHT,
        (State.RETRYABLE, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.RETRYABLE, Event.PARK): State.PARKED,
        (State.RETRYABLE, Event.EXPIRE): State.EXPIRED,
        (State.RETRYABLE, Event.SUPERSEDE): State.SUPERSEDED,
        (State.PARKED, Event.REQUEUE): State.PENDING,
        (State.PARKED, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.PARKED, Event.EXPIRE): State.EXPIRED,
        (State.PARKED, Event.SUPERSEDE): State.SUPERSEDED,
        (State.REFUSED, Event.REQUEUE): State.PENDING,
        (State.REFUSED, Event.PARK): State.PARKED,
        (State.REFUSED, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.REFUSED, Event.SUPERSEDE): State.SUPERSEDED,
        # What İYS held may change under us: a citizen's act, another writer's, a lost brand.
        (State.ACCEPTED, Event.FIND_ABSENT): State.PENDING,
        (State.ACCEPTED, Event.SUPERSEDE): State.SUPERSEDED,
        (State.NOT_NEEDED, Event.FIND_ABSENT): State.PENDING,
        (State.NOT_NEEDED, Event.SUPERSEDE): State.SUPERSEDED,
        (State.EXPIRED, Event.FIND_SETTLED): State.NOT_NEEDED,
        (State.EXPIRED, Event.SUPERSEDE): State.SUPERSEDED,
        (State.SUPERSEDED, Event.DESIRE): State.PENDING,
    }
)
"""The table: where an event takes an obligation from each state."""


def after(state: State, event: Event) -> State:
    """Return the state ``event`` leads to; raises IllegalTransitionError if the table has none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None


def drawn() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {BEGINNING}"]
    arrows: dict[tuple[State, State], list[Event]] = {}
    for (state, event), target in TRANSITIONS.items():
        arrows.setdefault((state, target), []).append(event)
    lines += [
        f"    {state} --> {target}: {', '.join(events)}"
        for (state, target), events in arrows.items()
    ]
    return "\n".join(lines) + "\n"
