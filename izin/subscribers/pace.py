"""How many records to read at a time: as many as the caller handles in a moment.

While the caller handles what was read, Kafka is not polled, and a rebalance waits.
"""

_QUICK, _SLOW = 0.1, 0.5
"""Seconds for one batch: the next is greater, or smaller."""
_MOST = 50


class Pace:
    """The size of the batches of one caller; instants are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._size = 1
        self._was_full = False
        self._read_at = 0.0

    def size(self, now: float) -> int:
        """Return how many records to read, by how long the caller took for the last ones."""
        took = now - self._read_at
        if took > _SLOW:
            self._size = max(self._size // 4, 1)
        elif self._was_full and took < _QUICK:
            self._size = min(self._size * 2, _MOST)
        return self._size

    def read(self, count: int, now: float) -> None:
        """Note that so many records were read, until ``now``."""
        self._was_full, self._read_at = count >= self._size, now
