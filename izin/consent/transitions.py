"""The lifecycle of an obligation: what is due to İYS for a key, until İYS holds what is desired.

An obligation is (key, desired event). It is one table, :data:`TRANSITIONS`: every change of state
goes through it (``ledger.record.state_change``), the guard of the ledger's database is generated
from it, and so is the picture in the documentation. What is not in it is an error that changes
nothing.

Nothing is dropped: a record that İYS refuses is ``refused``, ``expired``, or ``parked``.
A call without a response leaves its obligation ``unknown``, never failed: İYS may have saved the
record, so its status is queried before anything is sent again. When a newer event changes what is
desired, a new obligation begins in the same row.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from izin.consent.errors import IllegalTransitionError


class State(StrEnum):
    """The state of an obligation."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    """A call that carries it has begun and has not ended."""
    AWAITING_RESULT = "awaiting_result"
    """İYS took the batch that carries it (202), which does not mean saved."""
    UNKNOWN = "unknown"
    """It was submitted, and what İYS made of it is not known."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETRYABLE = "retryable"
    PARKED = "parked"
    """A person must act."""
    EXPIRED = "expired"
    """The three business days are over (m.7/12): a new consent is needed."""
    NOT_NEEDED = "not_needed"
    """İYS holds it already, or has nothing to withdraw."""


class Event(StrEnum):
    """What can happen to an obligation."""

    CLAIM = "claim"
    """A call that carries it is about to leave."""
    QUEUE = "queue"
    """İYS took the batch that carries it (202)."""
    ACCEPT = "accept"
    """İYS saved it."""
    REFUSE = "refuse"
    """İYS refuses its content."""
    RETRY = "retry"
    """İYS certainly did not save it, and it is still desired."""
    LOSE = "lose"
    """No response came, or one that does not show what İYS holds."""
    SETTLE = "settle"
    """İYS holds what is desired, by whomever it was submitted, or has nothing to withdraw."""
    REOPEN = "reopen"
    """What İYS holds changed after it was settled: a citizen's act, or another writer's."""
    PARK = "park"
    REQUEUE = "requeue"
    """A person, or a newly registered brand, makes it be decided again."""
    EXPIRE = "expire"
    EXTEND = "extend"
    """It expired by a wrong calendar or wrong terms of its brand; by the right ones its term goes
    on."""


OPEN = (State.IN_FLIGHT, State.AWAITING_RESULT, State.UNKNOWN)
"""Submitted, and İYS's result not known."""
WAITING = (State.PENDING, State.RETRYABLE)
SETTLED = (State.ACCEPTED, State.NOT_NEEDED)
CLOSED = (State.REFUSED, State.EXPIRED, State.PARKED)
"""A person, or a newer event, must come first."""

BEGINNING = State.PENDING
"""The state of an obligation until the rules are applied for the first time."""

_ENTRIES: Mapping[Event, Mapping[State, tuple[State, ...]]] = {
    # The event: where it leads, from which states.
    Event.CLAIM: {State.IN_FLIGHT: WAITING},
    Event.QUEUE: {State.AWAITING_RESULT: (State.IN_FLIGHT,)},
    Event.ACCEPT: {State.ACCEPTED: OPEN},
    Event.REFUSE: {State.REFUSED: OPEN},
    Event.RETRY: {State.RETRYABLE: (*OPEN, State.RETRYABLE)},
    Event.LOSE: {State.UNKNOWN: OPEN},
    Event.SETTLE: {State.NOT_NEEDED: (*WAITING, *OPEN, *CLOSED, State.NOT_NEEDED)},
    Event.REOPEN: {State.PENDING: SETTLED},
    Event.PARK: {State.PARKED: (*WAITING, *OPEN, *SETTLED, State.PARKED)},
    Event.REQUEUE: {State.PENDING: (State.PARKED,)},
    Event.EXPIRE: {
        State.EXPIRED: (*WAITING, *OPEN, *SETTLED, State.PARKED, State.EXPIRED),
    },
    Event.EXTEND: {State.PENDING: (State.EXPIRED,)},
}

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (state, event): target
        for event, targets in _ENTRIES.items()
        for target, states in targets.items()
        for state in states
    }
)
"""The table: where an event takes an obligation from each state."""

FIRST_STATES = frozenset(
    {BEGINNING}
    | {TRANSITIONS[BEGINNING, event] for event in (Event.SETTLE, Event.PARK, Event.EXPIRE)}
)
"""The states of a new obligation after its first ruling, which is part of the same write."""

_RULED = frozenset({Event.SETTLE, Event.REOPEN, Event.PARK, Event.EXPIRE})
"""What a ruling may do, but to what is in flight. A page of movements is one write, and each
movement of a key is ruled on: İYS's consent makes a settled opt-out due again, and the opt-out
behind it settles that."""


def _ruled_from(state: State) -> set[State]:
    """Return the states to which rulings take ``state``, one after the other."""
    found = {state}
    while more := {
        target
        for (before, event), target in TRANSITIONS.items()
        if before in found and event in _RULED and target not in found
    }:
        found |= more
    return found


WRITTEN_CHANGES = frozenset(
    (state, target)
    for state, event in TRANSITIONS
    for target in {TRANSITIONS[state, event], *(() if state in OPEN else _ruled_from(state))}
    if state is not target
)
"""The changes of state that the ledger's database lets pass within one obligation."""


def after(state: State, event: Event) -> State:
    """Return the state that ``event`` leads to; raises IllegalTransitionError if there is none."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None


def diagram() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {BEGINNING}"]
    arrows: dict[tuple[State, State], list[Event]] = {}
    for (state, event), target in TRANSITIONS.items():
        arrows.setdefault((state, target), []).append(event)
    lines += [
        f"    {state} --> {target}: {', '.join(events)}"
        for (state, target), events in sorted(arrows.items())
    ]
    return "\n".join(lines) + "\n"


def guard() -> str:
    """Return the condition by which the database's trigger refuses a change, as SQL.

    An obligation begins with another event, or where an opt-in is set aside as void. It is between
    the marker comments of ``ledger/migrations/0003_transitions.sql``.
    """
    first = ", ".join(f"'{state}'" for state in sorted(FIRST_STATES))
    pairs = sorted(WRITTEN_CHANGES)
    lines = [
        "CASE",
        "    WHEN OLD.desired_event_id IS DISTINCT FROM NEW.desired_event_id",
        "            OR OLD.desired_status IS DISTINCT FROM NEW.desired_status",
        "            OR OLD.void_event_id IS DISTINCT FROM NEW.void_event_id",
        f"        THEN NEW.state NOT IN ({first})",
        "    ELSE OLD.state <> NEW.state AND OLD.state || ' ' || NEW.state NOT IN (",
    ]
    for state in State:
        own = [f"'{before} {target}'" for before, target in pairs if before is state]
        lines += ["        " + ", ".join(own[at : at + 4]) + "," for at in range(0, len(own), 4)]
    lines[-1] = lines[-1].removesuffix(",") + ")"
    return "\n".join([*lines, "END"]) + "\n"
