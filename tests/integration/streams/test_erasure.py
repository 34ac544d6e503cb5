"""An erasure is committed with its suppression, and both are read back, against a real broker."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from izin.streams.state.rocks import RocksFolder
from izin.streams.state.state import MemoryState, PartitionState
from tests.support.builders import an_event
from tests.support.order.harness import KEY, OrderHarness, a_record
from tests.unit.streams.test_erasure import SUPPRESSION, an_erasure

pytestmark = pytest.mark.broker


@pytest.fixture(params=["memory", "rocksdb"])
def make_state(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], PartitionState]]:
    """Yield a maker of the worker's state: on disk, the same folder each time."""
    made: list[PartitionState] = []

    def make() -> PartitionState:
        for one in made:
            one.close()
        state = MemoryState() if request.param == "memory" else RocksFolder(tmp_path).state(0)
        made.append(state)
        return state

    yield make
    made[-1].close()


async def commit(harness: OrderHarness, owner: object, *events: object) -> None:
    """Fold events of the only partition, and commit what they amount to."""
    records = [a_record(one, key=KEY, offset=place) for place, one in enumerate(events)]
    effects = harness.stage.fold(0, records, owner.state)
    await harness.commit(owner, effects, next_offset=len(records))


@pytest.mark.parametrize("is_same", [True, False], ids=["same-state", "read-back"])
async def test_erasure_is_read_back(
    harness: OrderHarness, make_state: Callable[[], PartitionState], *, is_same: bool
) -> None:
    """By the same worker, and by one that has no state yet."""
    owner = await harness.acquired(make_state())
    await commit(harness, owner, an_event(status="RET"))
    await commit(harness, owner, an_erasure())
    successor = await harness.acquired(make_state() if is_same else MemoryState())
    state = successor.state
    assert state.packed(KEY) is None
    assert state.packed(SUPPRESSION) is not None
    assert state.suppresses
    effects = harness.stage.fold(0, [a_record(an_event(event_id="old"), key=KEY)], state)
    assert effects.counts == {"suppressed": 1}
