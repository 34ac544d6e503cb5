"""When a key may be released that an undecided opt-out (RET) has closed.

What follows from a decision is written on the partition of the key, in the transaction that moves
``order-positions`` of the same number. Kafka ends a transaction partition by partition, so the
positions may be readable before the decision of the same transaction. But it is in its log by then,
below the end that Kafka shows to those who read uncommitted records too. So a key is released once
``consent-decisions`` was read to such an end that was asked for after the positions were seen.

A record whose key belongs to another partition is written there again before the positions pass it.
Its mark is released once that partition of the lane was read to such an end: there it has another.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.follower import RecordFollower
from izin.projections.decided import UNDECIDED, decided_below, lanes_of
from izin.runtime.topic_identity import TopicIdentities
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topics

_EVERY = 0.2


class _Decided(NamedTuple):
    below: Mapping[str, int]
    """By lane."""
    seen_at: float


class Releasing:
    """Releases keys as the order stage decides."""

    def __init__(
        self, undecided: UndecidedOptOuts, topics: Topics, identities: TopicIdentities
    ) -> None:
        self._undecided = undecided
        self._topics = topics
        self._identities = identities
        self._latest: dict[int, _Decided] = {}
        self._waiting: dict[int, _Decided] = {}
        """What is decided, and of which it was not read yet what follows."""
        self._followed: dict[int, _Decided] = {}
        """What is decided, and of which what follows was read."""
        self._stopped = threading.Event()

    def put(self, _topic: str, partition: int, record: AvroRecord) -> None:
        """Take the latest Avro Positions of a partition number, which were read just now."""
        below = {
            lane: decided_below(record, lane, self._topics, self._identities)
            for lane in lanes_of(self._topics)
        }
        self._latest[partition] = _Decided(below, monotonic())

    def decided(self, lane: str) -> Mapping[int, int]:
        """Return the offset below which each partition of ``lane`` is decided, where it is known.

        Where it is not, or the positions are of another topic, everything may be undecided.
        """
        return {
            number: found.below[lane]
            for number, found in self._latest.items()
            if found.below[lane] != UNDECIDED
        }

    def followed(self, lane: str, number: int) -> int:
        """Return below which offset of ``lane`` all is decided, and what follows from it was read:
        nothing of it can close a key any more.
        """
        found = self._followed.get(number)
        return 0 if found is None else found.below[lane]

    @contextmanager
    def running(
        self, decisions: RecordFollower, lanes: Mapping[str, RecordFollower]
    ) -> Iterator[None]:
        """Release keys until the context ends."""

        def run() -> None:
            while not self._stopped.wait(_EVERY):
                self.release(decisions, lanes)

        thread = threading.Thread(target=run, name="releasing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def release(self, decisions: RecordFollower, lanes: Mapping[str, RecordFollower]) -> None:
        """Release what can be released now."""
        for number, latest in list(self._latest.items()):
            # Not the latest one: where many are decided, that would never be read to its end.
            waiting = self._waiting.setdefault(number, latest)
            if decisions.complete_at(number) > waiting.seen_at:
                self._followed[number] = waiting
                self._waiting[number] = latest
            followed = self._followed.get(number)
            for lane, follower in lanes.items():
                place = lane, number
                if followed is not None:
                    self._undecided.release(place, followed.below[lane])
                self._undecided.release_strays(
                    place, latest.below[lane], latest.seen_at, follower.complete_at
                )
