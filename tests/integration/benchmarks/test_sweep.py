"""The benchmark of the sweep measures correctly, on few keys."""

import pytest

from benchmarks.sink.sweep import sweep

pytestmark = pytest.mark.database


def test_every_key_is_swept_and_every_request_counted():
    """How many of its requests it makes is for the bar to judge."""
    found = sweep(keys=4000, rate=10)
    assert (found.data["sweep"]["confirmed"], found.data["sweep"]["requests"]) == (4000, 4)
    assert 0 < found.figures["sweep-slots"] <= 101
