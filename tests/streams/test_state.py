"""One exam for every state: in memory, or wherever it may be kept."""

import pytest

from izin.consent.ordering import decide
from izin.streams.state import MemoryState, State
from tests.builders import a_claim, a_ret

ONAY = decide(None, a_claim()).consent
RET = decide(None, a_ret()).consent
KEY, OTHER = b"100001/MESAJ/BIREYSEL/+905550000001", b"100001/MESAJ/BIREYSEL/+905550000002"


@pytest.fixture(params=[MemoryState])
def state(request: pytest.FixtureRequest) -> State:
    """Give an empty state of each implementation."""
    return request.param()


def test_a_new_state_holds_nothing(state: State) -> None:
    """It stands at the beginning of its topic and knows no key."""
    assert (len(state), state.position, state.get(KEY)) == (0, 0, None)


def test_it_holds_what_was_committed(state: State) -> None:
    """The latest committed row of a key is what it says of it."""
    state.apply({KEY: ONAY, OTHER: ONAY})
    state.apply({KEY: RET})
    assert (state.get(KEY), state.get(OTHER), len(state)) == (RET, ONAY, 2)


def test_what_was_committed_moves_no_position(state: State) -> None:
    """Only rows read back tell where in the topic it stands: what it wrote is read again."""
    state.restore({}, 7)
    state.apply({KEY: ONAY})
    assert state.position == 7


def test_rows_read_back_replace_and_tombstones_remove(state: State) -> None:
    """A delta lays new rows over old ones, and a tombstone forgets a key, known or not."""
    state.restore({KEY: ONAY, OTHER: ONAY}, 5)
    state.restore({KEY: RET, OTHER: None, b"never seen": None}, 9)
    assert (state.get(KEY), state.get(OTHER)) == (RET, None)
    assert (len(state), state.position) == (1, 9)


def test_cleared_it_is_as_new(state: State) -> None:
    """Nothing of what it held survives, nor its position."""
    state.restore({KEY: ONAY}, 5)
    state.clear()
    assert (len(state), state.position, state.get(KEY)) == (0, 0, None)
