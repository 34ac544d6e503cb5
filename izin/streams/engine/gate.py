"""What one fetch brings of a partition, which partitions may be fetched, and from where.

The consumer's thread asks at each fetch. A lane of a partition is opened once the partition is
acquired, at the offset to decide next, and closed when it is lost. Faust's own pauses would not do:
a rebalance, or a buffer that empties, resumes what was paused. While a lane has a batch that waits
to be decided it is held, so that a partition which is slow, or which waits for its broker, keeps a
few batches and not the topic.

Each opening has a number, which its batches carry: a batch fetched before it is recognised.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from izin.streams.fetched_record import FetchedRecord

Lane = tuple[str, int]
"""A topic and a partition number."""


class RecordBatch(NamedTuple):
    """The records that one fetch brought for one partition, oldest first."""

    start: int
    """No record from here to ``next_offset`` is missing."""
    next_offset: int
    """Where the next fetch will read."""
    records: Sequence[FetchedRecord]
    """Never empty."""
    opening: int = 0
    """Of its lane at the gate, under which it was fetched."""

    def split(self, count: int) -> tuple["RecordBatch", "RecordBatch"]:
        """Return a batch of the first ``count`` records, and one of the others; neither may be
        without any.
        """
        records, following = self.records, self.records[count].offset
        return (
            self._replace(next_offset=following, records=records[:count]),
            self._replace(start=following, records=records[count:]),
        )


class FetchGate:
    """Shared by the worker's event loop, which opens and closes, and the consumer's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._openings: dict[Lane, int] = {}
        self._seeks: dict[Lane, int] = {}
        self._held: set[Lane] = set()
        self._count = 0
        self.on_change: Callable[[], object] = lambda: None
        """Called, in the worker's thread, when there may be more to fetch."""

    def open(self, offsets: Mapping[Lane, int]) -> int:
        """Open lanes, each at its offset; return the number of the opening."""
        with self._lock:
            self._count += 1
            self._seeks.update(offsets)
            self._openings.update(dict.fromkeys(offsets, self._count))
            self._held.difference_update(offsets)
            opening = self._count
        self.on_change()
        return opening

    def close(self, lanes: Iterable[Lane]) -> None:
        """Close ``lanes``; nothing more of them is fetched."""
        with self._lock:
            for lane in lanes:
                self._openings.pop(lane, None)
                self._seeks.pop(lane, None)
                self._held.discard(lane)

    def hold(self, lane: Lane) -> None:
        """Fetch no more of ``lane`` until it is released."""
        with self._lock:
            self._held.add(lane)

    def release(self, lane: Lane) -> None:
        """Fetch ``lane`` again."""
        with self._lock:
            self._held.discard(lane)
        self.on_change()

    def take_seeks(self) -> Mapping[Lane, int]:
        """Return where lanes that were opened since the last call are to be read from."""
        with self._lock:
            seeks, self._seeks = self._seeks, {}
            return seeks

    def openings(self, lanes: Iterable[Lane]) -> Mapping[Lane, int]:
        """Return those of ``lanes`` that may be fetched now, with the number of their opening."""
        with self._lock:
            return {
                lane: self._openings[lane]
                for lane in lanes
                if lane in self._openings and lane not in self._held and lane not in self._seeks
            }
