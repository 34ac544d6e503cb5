"""One exam for every state: in memory, or wherever it may be kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from izin.consent.ordering import decide
from izin.streams.state import rocks as rocks_module
from izin.streams.state import state as state_module
from izin.streams.state.rocks import RocksFolder
from izin.streams.state.state import MemoryState, State
from tests.streams.holding import hold
from tests.support.builders import a_claim, a_key, a_ret

ONAY = decide(None, a_claim()).consent
RET = decide(None, a_ret()).consent
OTHER_ONAY = replace(ONAY, key=a_key(recipient="+905550000002"))
KEY, OTHER = ONAY.key.encode(), OTHER_ONAY.key.encode()
HOME = "cluster/topic"


@pytest.fixture(params=["memory", "rocksdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """Give an empty state of each implementation, open."""
    kept = MemoryState() if request.param == "memory" else RocksFolder(tmp_path).state(0)
    kept.open(HOME)
    yield kept
    kept.close()


def test_a_new_state_holds_nothing(state: State) -> None:
    """It stands at the beginning of its topic and knows no key."""
    assert (len(state), state.position, state.get(KEY)) == (0, 0, None)


def test_it_holds_what_was_committed(state: State) -> None:
    """The latest committed row of a key is what it says of it."""
    hold(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 2)
    hold(state, {KEY: RET}, 4)
    assert (state.get(KEY), state.get(OTHER), len(state)) == (RET, OTHER_ONAY, 2)
    assert state.position == 4


def test_a_position_may_stay(state: State) -> None:
    """Rows that are held may be read again; none may be passed over."""
    hold(state, {}, 7)
    hold(state, {KEY: ONAY}, 7)
    assert (state.position, state.get(KEY)) == (7, ONAY)


def test_a_key_is_counted_once(state: State) -> None:
    """Whether it was asked for before or not, a key that comes again is the same key."""
    hold(state, {KEY: ONAY}, 1)
    hold(state, {KEY: RET}, 2)
    assert state.get(OTHER) is None
    hold(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 4)
    assert state.get(KEY) == ONAY
    hold(state, {KEY: RET}, 5)
    hold(state, {KEY: None}, 6)
    hold(state, {KEY: None}, 7)
    assert (len(state), state.get(KEY)) == (1, None)


def test_rows_read_back_replace_and_tombstones_remove(state: State) -> None:
    """A delta lays new rows over old ones, and a tombstone forgets a key, known or not."""
    hold(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 5)
    hold(state, {KEY: RET, OTHER: None, b"never seen": None}, 9)
    assert (state.get(KEY), state.get(OTHER)) == (RET, None)
    assert (len(state), state.position) == (1, 9)


def test_cleared_it_is_as_new(state: State) -> None:
    """Nothing of what it held survives, nor its position; and it goes on."""
    hold(state, {KEY: ONAY}, 5)
    state.clear()
    assert (len(state), state.position, state.get(KEY)) == (0, 0, None)
    hold(state, {KEY: RET}, 3)
    assert (len(state), state.position, state.get(KEY)) == (1, 3, RET)


def test_closed_and_open_again_it_holds_what_it_held(state: State) -> None:
    """A partition that moves away and comes back needs to read only what it missed."""
    hold(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 5)
    state.close()
    state.close()
    state.open(HOME)
    assert (len(state), state.position) == (2, 5)
    assert (state.get(KEY), state.get(OTHER)) == (ONAY, OTHER_ONAY)


def test_open_again_it_stays_as_it_is(state: State) -> None:
    """A partition is taken again and again by the same worker."""
    hold(state, {KEY: ONAY}, 5)
    state.open(HOME)
    assert (state.get(KEY), state.position) == (ONAY, 5)


@pytest.mark.parametrize("closed", [True, False])
def test_another_topic_is_read_anew(
    state: State, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """What came from a topic recreated since, or from another cluster, is never trusted."""
    warned: list[str] = []

    class Log:
        def warning(self, what: str, **_: object) -> None:
            warned.append(what)

    for module in (state_module, rocks_module):
        monkeypatch.setattr(module, "_log", Log())
    hold(state, {KEY: ONAY}, 5)
    if closed:
        state.close()
    state.open("cluster/topic made again")
    assert (len(state), state.position, state.get(KEY)) == (0, 0, None)
    assert warned == ["the state came from another topic; reading all of it"]
    hold(state, {KEY: RET}, 1)
    state.open("cluster/topic made again")
    assert state.get(KEY) == RET


def test_its_size_is_told(state: State) -> None:
    """What it takes grows with what it holds."""
    empty = state.size
    many = {
        one.key.encode(): one
        for number in range(2000)
        for one in [replace(ONAY, key=a_key(recipient=f"+90555{number:07d}"))]
    }
    hold(state, many, 1)
    assert state.size > empty + 50 * len(many)
