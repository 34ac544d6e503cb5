"""One suite for every state: in memory and on disk."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.typing import EventDict

from izin.streams.state.rocks import RocksFolder
from izin.streams.state.state import MemoryState, PartitionState
from tests.support.builders import a_key
from tests.support.order.harness import KEY, ONAY, RET, apply, consent_of

OTHER_ONAY = replace(ONAY, key=a_key(recipient="+905550000002"))
OTHER = OTHER_ONAY.key.encode()
IDENTITY = "cluster/topic"


@pytest.fixture(params=["memory", "rocksdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartitionState]:
    """Yield an empty state of each implementation, open."""
    kept = MemoryState() if request.param == "memory" else RocksFolder(tmp_path).state(0)
    kept.open(IDENTITY)
    yield kept
    kept.close()


def test_rows_may_be_applied_without_moving_the_position(state: PartitionState) -> None:
    """Rows that are held may be read again; none may be passed over."""
    apply(state, {}, 7)
    apply(state, {KEY: ONAY}, 7)
    assert (state.position, consent_of(state, KEY)) == (7, ONAY)


def test_key_applied_again_is_counted_once(state: PartitionState) -> None:
    """A key that was read before and one that was not are treated alike."""
    apply(state, {KEY: ONAY}, 1)
    apply(state, {KEY: RET}, 2)
    assert consent_of(state, OTHER) is None
    apply(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 4)
    assert consent_of(state, KEY) == ONAY
    apply(state, {KEY: RET}, 5)
    apply(state, {KEY: None}, 6)
    apply(state, {KEY: None}, 7)
    assert (len(state), consent_of(state, KEY)) == (1, None)


def test_rows_replace_and_tombstones_remove(state: PartitionState) -> None:
    """A delta lays new rows over old ones, and a tombstone forgets a key, known or not."""
    apply(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 5)
    apply(state, {KEY: RET, OTHER: None, b"never seen": None}, 9)
    assert (consent_of(state, KEY), consent_of(state, OTHER)) == (RET, None)
    assert (len(state), state.position) == (1, 9)


def test_cleared_state_is_empty(state: PartitionState) -> None:
    """Nothing of what it held survives, nor its position; and it goes on."""
    apply(state, {KEY: ONAY}, 5)
    state.clear()
    assert (len(state), state.position, consent_of(state, KEY)) == (0, 0, None)
    apply(state, {KEY: RET}, 3)
    assert (len(state), state.position, consent_of(state, KEY)) == (1, 3, RET)


def test_reopened_state_has_its_rows(state: PartitionState) -> None:
    """A partition that moves away and comes back needs to read only what it missed."""
    apply(state, {KEY: ONAY, OTHER: OTHER_ONAY}, 5)
    state.close()
    state.close()
    state.open(IDENTITY)
    assert (len(state), state.position) == (2, 5)
    assert (consent_of(state, KEY), consent_of(state, OTHER)) == (ONAY, OTHER_ONAY)


def test_state_opened_twice_is_unchanged(state: PartitionState) -> None:
    """A partition is taken again and again by the same worker."""
    apply(state, {KEY: ONAY}, 5)
    state.open(IDENTITY)
    assert (consent_of(state, KEY), state.position) == (ONAY, 5)


@pytest.mark.parametrize("closed", [True, False])
def test_state_of_another_topic_is_discarded(
    state: PartitionState, logged: list[EventDict], closed: bool
) -> None:
    """What came from a topic recreated since, or from another cluster, is never trusted."""
    apply(state, {KEY: ONAY}, 5)
    if closed:
        state.close()
    state.open("cluster/topic made again")
    assert (len(state), state.position, consent_of(state, KEY)) == (0, 0, None)
    assert [one["why"] for one in logged] == ["it is of another topic"]
    apply(state, {KEY: RET}, 1)
    state.open("cluster/topic made again")
    assert consent_of(state, KEY) == RET


def test_size_grows_with_the_rows(state: PartitionState) -> None:
    """What it takes grows with what it holds."""
    empty = state.size
    many = {
        one.key.encode(): one
        for number in range(2000)
        for one in [replace(ONAY, key=a_key(recipient=f"+90555{number:07d}"))]
    }
    apply(state, many, 1)
    assert state.size > empty + 50 * len(many)
