"""Batches grow with a quick caller, and shrink with a slow one."""

from izin.subscribers.lane import BatchSize


def test_quick_caller_gets_greater_batches_up_to_a_limit():
    """Doubled while batches are full."""
    pace, now, sizes = BatchSize(), 100.0, []
    for _ in range(9):
        sizes.append(pace.size(now))
        pace.read(sizes[-1], now)
        now += 0.01
    assert sizes == [1, 2, 4, 8, 16, 32, 50, 50, 50]


def test_slow_caller_gets_single_records_soon():
    """A rebalance waits for one batch at most."""
    pace, now = BatchSize(), 100.0
    for _ in range(8):
        pace.read(pace.size(now), now)
    sizes = []
    for _ in range(4):
        now += 1.0
        sizes.append(pace.size(now))
        pace.read(sizes[-1], now)
    assert sizes == [12, 3, 1, 1]


def test_batches_do_not_grow_while_nothing_comes():
    """What comes then may be slow to handle."""
    pace = BatchSize()
    pace.read(0, 100.0)
    assert [pace.size(100.0 + step / 100) for step in range(5)] == [1] * 5
