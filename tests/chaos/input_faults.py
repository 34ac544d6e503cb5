"""Faults of the input: what anybody with the right to write a lane may write there."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from izin.runtime.settings import KafkaSettings
from tests.chaos.hostile.records import KINDS, HostileBatch, WrittenBatch, hostile_batch, leave_open
from tests.support.hostile.batches import UNREADABLE, BatchRefusedError, RawProducer
from tests.support.order.verdict import Coordinates

BATCHES = 20
"""Of each fault."""


class InputFault(StrEnum):
    """A fault of the input."""

    RECORDS = "hostile records and wild clocks"
    HUGE = "huge records"
    UNREADABLE = "batches that cannot be unpacked"
    OPEN = "transaction of another left open"


INPUT_WEIGHTS: Mapping[InputFault, int] = {
    InputFault.RECORDS: 6,
    InputFault.HUGE: 3,
    InputFault.UNREADABLE: 3,
    InputFault.OPEN: 2,
}
"""How often each comes up in a long campaign, relative to the others."""
_OF: Mapping[InputFault, frozenset[str]] = {
    # Not those that may change the brand: an opt-out of an unknown one is parked, and must be.
    InputFault.RECORDS: frozenset(KINDS) - {"flipped", "counts"},
    InputFault.HUGE: frozenset({"huge", "inflated"}),
    InputFault.UNREADABLE: frozenset(UNREADABLE),
}
"""The kinds of hostile batches that each writes."""


@dataclass(slots=True)
class HostileInput:
    """Writes what is hostile to the lanes, or to two other ``topics``, never the same twice."""

    settings: KafkaSettings
    seed: int
    topics: tuple[str, ...] = ()
    written: list[WrittenBatch] = field(default_factory=list)
    """What the broker stored."""
    _next: int = 0

    def inject(self, fault: InputFault, random: Random) -> str:
        """Inject ``fault`` into a partition of a topic, or into all; return which."""
        partition, own = random.randrange(self.settings.partitions), self.settings.topics
        topics = self.topics or (own.events.name, own.express.name)
        if fault is InputFault.OPEN:
            lane = random.choice(topics)
            leave_open(self.settings, lane, partition)
            return f"{lane}[{partition}]"
        with RawProducer(self.settings) as raw:
            for made in self._batches(fault):
                lane = topics[made.is_express]
                with suppress(BatchRefusedError):
                    first = raw.produce(lane, made.partition, made.data)
                    self.written.append(WrittenBatch.of(made, topic=lane, first=first))
        return "topics" if self.topics else "lanes"

    def places(self, kinds: Collection[str] = ()) -> set[Coordinates]:
        """Return where each record that was written stands: those of ``kinds``, or all."""
        return {
            (one.topic, one.partition, one.first + index)
            for one in self.written
            if not kinds or one.kind in kinds
            for index in range(one.count)
        }

    def _batches(self, fault: InputFault) -> list[HostileBatch]:
        """Return the next batches of ``fault``: fewer where they are large."""
        found, kinds = list[HostileBatch](), sorted(_OF[fault])
        while len(found) < (BATCHES if fault is InputFault.RECORDS else BATCHES // 5):
            made = hostile_batch(self.seed, self._next, self.settings.partitions, kinds=kinds)
            found.append(made)
            self._next += 1
        return found
