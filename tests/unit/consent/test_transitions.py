"""The lifecycle of an obligation is one table, and everything else follows from it."""

from itertools import product

import pytest

from izin.consent import (
    BEGINNING,
    CLOSED,
    OPEN,
    SETTLED,
    WAITING,
    IllegalTransitionError,
    State,
    Status,
    after,
)
from izin.consent.transitions import (
    FIRST_STATES,
    TRANSITIONS,
    WRITTEN_CHANGES,
    Event,
    diagram,
    guard,
)


def test_every_state_is_reached_and_every_event_used():
    """The table has no orphans."""
    reached, before = {BEGINNING}, set()
    while reached != before:
        before = set(reached)
        reached |= {target for (state, _), target in TRANSITIONS.items() if state in before}
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_a_transition_outside_the_table_is_an_error(state: State, event: Event):
    """An event leads to the state in the table, or is refused and changes nothing."""
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransitionError) as caught:
        after(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)


def test_groups_of_states_part_the_states():
    """Each state is in one group."""
    assert sorted((*WAITING, *OPEN, *SETTLED, *CLOSED)) == sorted(State)


def test_an_unknown_outcome_is_never_claimed():
    """İYS may have saved the record: its status is queried before it is sent again."""
    assert after(State.IN_FLIGHT, Event.LOSE) is State.UNKNOWN
    with pytest.raises(IllegalTransitionError):
        after(State.UNKNOWN, Event.CLAIM)
    assert after(State.UNKNOWN, Event.RETRY) is State.RETRYABLE


def test_an_expired_obligation_comes_back_by_another_term_alone():
    """m.7/12: a new consent is needed, not another try; unless the term was counted wrongly."""
    assert {event for state, event in TRANSITIONS if state is State.EXPIRED} == {
        Event.EXPIRE,
        Event.EXTEND,
        Event.SETTLE,
    }
    assert {state for state, event in TRANSITIONS if event is Event.EXTEND} == {State.EXPIRED}


def test_a_parked_obligation_can_be_requeued():
    """Nothing is dropped: a person lets it go on."""
    assert after(State.PARKED, Event.REQUEUE) is State.PENDING


def test_a_new_obligation_is_never_submitted_in_its_first_write():
    """It begins pending, and its first ruling may settle, park or expire it."""
    assert {
        State.PENDING,
        State.NOT_NEEDED,
        State.PARKED,
        State.EXPIRED,
    } == FIRST_STATES


def test_the_diagram_shows_every_state_and_event():
    """It is generated from the table, an arrow a pair of states."""
    picture = diagram()
    assert picture.startswith("stateDiagram-v2\n    [*] --> pending\n")
    assert all(state in picture for state in State)
    assert all(event in picture for event in Event)
    assert picture.count("-->") == 1 + len({(s, t) for (s, _), t in TRANSITIONS.items()})


def test_the_guard_names_each_written_change_once():
    """The condition of the database's trigger is the table's written changes, and no other."""
    condition = guard()
    for state, target in product(State, State):
        expected = 1 if (state, target) in WRITTEN_CHANGES else 0
        assert condition.count(f"'{state} {target}'") == expected


def test_states_are_no_status_of_iys():
    """Values go into a database column."""
    assert not {state.value for state in State} & {status.value for status in Status}
