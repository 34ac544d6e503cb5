"""What each kind of state costs, on a few keys."""

from random import Random

import pytest

from benchmarks.worker.sample_consents import sample_consents
from benchmarks.worker.state import KINDS, ROCKSDB, measure_size, state


def test_sample_consents_are_each_of_another_key():
    """A key that comes twice would take no memory."""
    made = list(sample_consents(2_000, rng=Random(7)))
    assert made == list(sample_consents(2_000, rng=Random(7)))
    assert len({one.key for one in made}) == len(made)


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_of_each_kind_of_state_is_measured(kind: str):
    """The measured state is in memory, and size on disk is counted separately."""
    found = measure_size(kind, 3_000)
    assert (found.kind, found.keys) == (kind, 3_000)
    assert (found.on_disk > 0) == (kind == ROCKSDB)


def test_sizes_and_speeds_of_every_kind_are_reported():
    """They are in one table and in one file."""
    found = state(keys=2000).data
    assert tuple(one["kind"] for one in found["sizes"]) == KINDS
    for action in ("get", "apply"):
        assert tuple(one["name"] for one in found[action]) == KINDS
        assert all(one["median"] > 0 for one in found[action])
