"""The profile of the order worker adds up, and its clocks count the steps that they are put on."""

import json
from pathlib import Path

import pytest

from benchmarks.order.dataset import DatasetShape
from benchmarks.worker import cpu_profile
from benchmarks.worker.timed_worker import (
    ALL,
    BATCH,
    COMPRESS,
    EVENTS,
    FETCH,
    FOLD,
    StepClocks,
    TimedStage,
)
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS
from izin.schemas.topics import Topics
from izin.streams.ownership import Effects
from izin.streams.state.state import MemoryState


def test_steps_add_up() -> None:
    """What no clock counted is the rest."""
    spent = {EVENTS: 2, FETCH: 1, FOLD: 10, BATCH: 2, COMPRESS: 3, ALL: 24}
    *steps, whole = cpu_profile._steps(spent, decided=0.4).values()
    assert steps == pytest.approx([0.5e6, 2e6, 3e6, 1e6, 1.5e6, 4e6])
    assert sum(steps) == pytest.approx(whole) == pytest.approx(12e6)


def test_share_of_deciding_is_a_share() -> None:
    """Deciding is a part of the fold, whatever the machine."""
    shape = DatasetShape(events=1000, recipients=200, partitions=1)
    assert 0 < cpu_profile._share_decided(shape) < 1


def test_stage_writes_what_was_spent(tmp_path: Path) -> None:
    """From a tenth of the events to the last of them, as soon as that is folded."""
    file, clocks = tmp_path / "steps.json", StepClocks()
    given = {"topics": Topics(), "partitions": 1, "codec": Codec(), "suppressions": NO_SUPPRESSIONS}
    records = list(cpu_profile._records(DatasetShape(events=100, recipients=20, partitions=1)))
    stage = TimedStage(clocks, len(records), file, **given)
    for start in (0, 50):
        assert not file.exists()
        stage.fold(0, records[start : start + 50], MemoryState(), Effects())
    spent = json.loads(file.read_text())
    assert spent[EVENTS] == 50
    assert 0 < spent[FOLD] <= spent[ALL]
