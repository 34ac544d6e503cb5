"""The state of a row changes by the table of the lifecycle, in one place."""

import ast
import re
import textwrap
from pathlib import Path

import pytest

import izin.sinks
from izin.consent.errors import IllegalTransitionError
from izin.consent.model import ConsentKey
from izin.consent.transitions import BEGINNING, TRANSITIONS, Event, State, guard
from izin.sinks.record.state_change import begin, first_row, transition
from tests.support.builders import NOON, PHONE

SINKS = Path(izin.sinks.__file__).parent
KEY = ConsentKey.parse(f"100001/MESAJ/BIREYSEL/{PHONE}")


def assigned_states(source: str) -> list[int]:
    """Return the lines of ``source`` that assign a state by keyword."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"replace", "ConsentRow"}
        and any(word.arg == "state" for word in node.keywords)
    ]


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_transition_follows_the_table(state: State, event: Event):
    """What the table lacks is refused, and the row is as it was."""
    row = first_row(KEY, "acme", NOON).replace(state=state)
    if (state, event) in TRANSITIONS:
        after = transition(row, event, reason="x")
        assert after == row.replace(state=TRANSITIONS[state, event], reason="x")
        return
    with pytest.raises(IllegalTransitionError):
        transition(row, event, reason="x")
    assert row == first_row(KEY, "acme", NOON).replace(state=state)


@pytest.mark.parametrize("state", State)
def test_new_obligation_begins_from_every_state(state: State):
    """A newer event is ruled whatever became of the one before it."""
    row = first_row(KEY, "acme", NOON).replace(state=state)
    assert begin(row, attempts=0).state is BEGINNING


def test_guard_of_the_database_is_generated_from_the_table():
    """Table, trigger and column know the same states and changes."""
    schema = (SINKS / "ledger/migrations/0001_schema.sql").read_text("utf-8")
    assert textwrap.indent(guard(), " " * 8) in schema
    _, _, column = schema.partition("state                     text NOT NULL CHECK (state IN (")
    assert set(re.findall(r"'(\w+)'", column.partition("))")[0])) == {str(one) for one in State}


def test_no_state_is_assigned_outside_transitions():
    """Only ``record.state_change`` assigns a state to a row."""
    found = {
        path.relative_to(SINKS).as_posix()
        for path in SINKS.rglob("*.py")
        if assigned_states(path.read_text("utf-8"))
    }
    assert found == {"record/state_change.py"}


def test_assigned_state_is_found():
    """The rule can fail."""
    assert assigned_states("x = 1\nrow.replace(why=None, state='parked')\n") == [2]
    assert assigned_states("ConsentRow(key='', state='parked')\n") == [1]
