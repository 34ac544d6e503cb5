from itertools import product

import pytest

from izin.consent.errors import IllegalTransitionError
from izin.consent.lifecycle import BEGINNING, TRANSITIONS, Event, State, after, drawn
from izin.consent.model import Status


def test_every_state_is_reached_and_every_event_used():
    """The table has no orphans."""
    reached, before = {BEGINNING}, set()
    while reached != before:
        before = set(reached)
        reached |= {target for (state, _), target in TRANSITIONS.items() if state in before}
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_what_is_not_in_the_table_is_an_error(state: State, event: Event):
    """An event leads where the table says, or is refused and changes nothing."""
    if (state, event) in TRANSITIONS:
        assert after(state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransitionError) as caught:
        after(state, event)
    assert (caught.value.state, caught.value.event) == (state, event)


def test_no_state_is_a_trap():
    """From anywhere a newer event can begin anew: nothing is dropped."""
    for state in set(State) - {State.SUPERSEDED}:
        assert after(state, Event.SUPERSEDE) is State.SUPERSEDED
    assert after(State.SUPERSEDED, Event.DESIRE) is BEGINNING


def test_a_lost_answer_is_asked_about_before_it_is_sent_again():
    """İYS may have saved the record: no claim leads out of unknown."""
    assert after(State.IN_FLIGHT, Event.LOSE) is State.UNKNOWN
    with pytest.raises(IllegalTransitionError):
        after(State.UNKNOWN, Event.CLAIM)
    assert after(State.UNKNOWN, Event.FIND_ABSENT) is State.RETRYABLE


def test_what_has_expired_is_never_sent_again():
    """m.7/12: a new consent is needed, not another try."""
    assert {event for state, event in TRANSITIONS if state is State.EXPIRED} == {
        Event.FIND_SETTLED,
        Event.SUPERSEDE,
    }


def test_a_person_can_send_again_what_was_refused_or_parked():
    """Requeue is the person's verb."""
    assert after(State.PARKED, Event.REQUEUE) is State.PENDING
    assert after(State.REFUSED, Event.REQUEUE) is State.PENDING


def test_the_picture_shows_every_state_and_event():
    """It is drawn from the table, an arrow a pair of states."""
    picture = drawn()
    assert picture.startswith("stateDiagram-v2\n    [*] --> pending\n")
    assert all(state in picture for state in State)
    assert all(event in picture for event in Event)
    assert picture.count("-->") == 1 + len({(s, t) for (s, _), t in TRANSITIONS.items()})


def test_states_are_the_words_of_the_ledger():
    """Values go into a database column; none is a status of İYS."""
    assert not {state.value for state in State} & {status.value for status in Status}
