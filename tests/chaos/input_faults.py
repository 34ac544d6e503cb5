"""Faults of the input: what anybody with the right to write a lane may write there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from izin.runtime.settings import KafkaSettings
from tests.chaos.hostile.records import KINDS, HostileBatch, hostile_batch
from tests.chaos.hostile.writer import leave_open
from tests.support.hostile.batches import UNREADABLE, RawProducer

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
    """Writes what is hostile to the lanes, never the same twice."""

    settings: KafkaSettings
    seed: int
    _next: dict[InputFault, int] = field(default_factory=dict)

    def inject(self, fault: InputFault, random: Random) -> str:
        """Inject ``fault`` into a partition of a lane; return which."""
        partition, topics = random.randrange(self.settings.partitions), self.settings.topics
        if fault is InputFault.OPEN:
            lane = random.choice((topics.events.name, topics.express.name))
            leave_open(self.settings, lane, partition)
            return f"{lane}[{partition}]"
        with RawProducer(self.settings) as raw:
            for made in self._batches(fault):
                lane = topics.express if made.is_express else topics.events
                raw.produce(lane.name, made.partition, made.data)
        return "lanes"

    def _batches(self, fault: InputFault) -> list[HostileBatch]:
        """Return the next batches of ``fault``: fewer where they are large."""
        found, number = list[HostileBatch](), self._next.get(fault, 0)
        while len(found) < (BATCHES if fault is InputFault.RECORDS else BATCHES // 5):
            kinds = sorted(_OF[fault])
            found.append(hostile_batch(self.seed, number, self.settings.partitions, kinds=kinds))
            number += 1
        self._next[fault] = number
        return found
