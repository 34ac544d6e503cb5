"""Keys that are closed by opt-outs (RET) of the input lanes that are not decided yet.

The order stage may find such an opt-out stale or refuse it, so a key is closed by it only until
what follows from the decision was read: then it is closed by that, or by nothing. A key may have
several undecided opt-outs, on both lanes and, where a producer keyed it its own way, on another
partition than its own.

An undecided opt-out takes about 250 bytes of memory; there are as many as the order stage is
behind.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Callable, KeysView
from dataclasses import dataclass
from typing import NamedTuple

Lane = tuple[str, int]
"""A partition of an input topic."""


class _Mark(NamedTuple):
    offset: int
    digest: bytes


@dataclass(slots=True)
class _StrayMark:
    """The mark of a key that belongs to another partition than the record's."""

    offset: int
    digest: bytes
    home: int
    decided_at: float | None = None
    """When it was seen to be decided, which here means: written again on its own partition."""


class UndecidedOptOuts:
    """The marks of undecided opt-outs. Written by some threads, read by any."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        """By the digest of a key: how many marks it has."""
        self.digests: KeysView[bytes] = self._counts.keys()
        """Of the keys that are closed, as they are now."""
        self._marks: defaultdict[Lane, deque[_Mark]] = defaultdict(deque)
        self._strays: defaultdict[Lane, list[_StrayMark]] = defaultdict(list)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many keys they close."""
        return len(self._counts)

    def add(self, lane: Lane, offset: int, digest: bytes, home: int) -> None:
        """Close the key of ``digest``, which belongs to the partition ``home``, for the opt-out at
        ``offset`` of ``lane``.
        """
        with self._lock:
            self._counts[digest] = self._counts.get(digest, 0) + 1
            if home == lane[1]:
                self._marks[lane].append(_Mark(offset, digest))
            else:
                self._strays[lane].append(_StrayMark(offset, digest, home))

    def release(self, lane: Lane, below: int) -> None:
        """Release the keys whose opt-outs are below an offset of ``lane``, on their own partition.

        What follows from them was read.
        """
        marks = self._marks.get(lane)
        while marks and marks[0].offset < below:
            with self._lock:
                self._release(marks.popleft().digest)

    def release_strays(
        self, lane: Lane, below: int, seen_at: float, complete_at: Callable[[int], float]
    ) -> None:
        """Release the keys whose opt-outs were written again on their own partitions, and read.

        ``below`` is decided, which was seen at ``seen_at``; ``complete_at`` says for which instant
        a partition of the lane is known to be read to its end.
        """
        strays = self._strays.get(lane)
        if not strays:
            return
        kept = []
        with self._lock:
            for stray in strays:
                if stray.decided_at is None and stray.offset < below:
                    stray.decided_at = seen_at
                if stray.decided_at is None or complete_at(stray.home) <= stray.decided_at:
                    kept.append(stray)
                else:
                    self._release(stray.digest)
            self._strays[lane] = kept

    def _release(self, digest: bytes) -> None:
        count = self._counts[digest] - 1
        if count:
            self._counts[digest] = count
        else:
            del self._counts[digest]
