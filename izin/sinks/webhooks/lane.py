"""A lane of a subscriber: how far it was read, and what of that is not acknowledged. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from izin.kafka.bounded_reader import Place
from izin.sinks.ledger.webhooks.deliveries import CursorMove
from izin.sinks.ledger.webhooks.subscriber import DeliveryCursor, LaneName
from izin.sinks.webhooks.events import WebhookEvent


@dataclass(slots=True, eq=False)
class PendingDelivery:
    """An event that a subscriber has not acknowledged."""

    event: WebhookEvent
    lane: "DeliveryLane"
    attempts: int = 0


@dataclass(slots=True, eq=False)
class DeliveryLane:
    """Positions and open offsets of one lane of one subscriber."""

    subscriber_id: int
    name: str
    resend_id: int = 0
    """Of the resend that it is a part of; 0: it is always followed."""
    positions: dict[Place, int] = field(default_factory=dict)
    """The offset after the last one that was read."""
    ends: dict[Place, int] = field(default_factory=dict)
    """Where a resend ends; empty: it has no end."""
    open: dict[Place, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Read, and not acknowledged."""
    count: int = 0
    """How many are open."""
    is_reopened: bool = True
    """Whether what was open at the start is being delivered again."""
    _dirty: set[Place] = field(default_factory=set)

    @classmethod
    def of(cls, subscriber_id: int, name: str, cursors: Iterable[DeliveryCursor]) -> "DeliveryLane":
        """Return the lane that these cursors of it describe."""
        lane = cls(subscriber_id, name)
        for cursor in cursors:
            lane.resend_id = cursor.resend_id
            lane.positions[cursor.place] = cursor.next_offset
            if cursor.end_offset is not None:
                lane.ends[cursor.place] = cursor.end_offset
            if cursor.open_offsets:
                lane.open[cursor.place] = set(cursor.open_offsets)
                lane.count += len(cursor.open_offsets)
                lane.is_reopened = False
        return lane

    @property
    def is_read(self) -> bool:
        """Whether it has an end, and was read up to that."""
        return bool(self.ends) and all(
            self.positions[place] >= end for place, end in self.ends.items()
        )

    @property
    def is_done(self) -> bool:
        """Whether it was read to its end, and everything of it is acknowledged."""
        return self.is_read and not self.count

    def has(self, place: Place, offset: int) -> bool:
        """Whether a record is acknowledged, or was none for the subscriber: it was read, and is not
        open. Of a partition that the lane does not read it is.
        """
        position = self.positions.get(place)
        return position is None or (offset < position and offset not in self.open.get(place, ()))

    def add(self, event: WebhookEvent) -> PendingDelivery:
        """Note that ``event`` was read, and is to be delivered."""
        self.open[event.place].add(event.offset)
        self.count += 1
        self.move(event.place, event.offset + 1)
        return PendingDelivery(event, self)

    def move(self, place: Place, position: int) -> None:
        """Note that a partition was read up to ``position``."""
        if position > self.positions.get(place, -1):
            self.positions[place] = position
            self._dirty.add(place)

    def move_all(self, positions: Mapping[Place, int]) -> None:
        """Note how far each partition was read."""
        for place, position in positions.items():
            self.move(place, position)

    def close(self, place: Place, offset: int) -> None:
        """Note that an open record is acknowledged, or is gone."""
        if offset in self.open[place]:
            self.open[place].discard(offset)
            self.count -= 1
            self._dirty.add(place)

    def moves(self, *, also_read: bool) -> Iterator[CursorMove]:
        """Yield the partitions that changed since the last time, as they are now.

        Without ``also_read`` only where something of them is, or was, open.
        """
        for place in [one for one in self._dirty if also_read or one in self.open]:
            self._dirty.discard(place)
            yield self._move(place)

    def _move(self, place: Place) -> CursorMove:
        topic, partition = place
        open_ = sorted(self.open[place]) if place in self.open else []
        if not open_:
            self.open.pop(place, None)
        position = self.positions[place]
        return CursorMove(
            self.subscriber_id, self.name, topic, partition, position, open_, self.resend_id
        )

    def restore(self, move: CursorMove) -> None:
        """Note that ``move`` could not be written: it is to be written again."""
        place = move.topic, move.partition
        self._dirty.add(place)
        self.open[place]  # so that the next write has it, though nothing of it is open


def lanes_of(subscriber_id: int, cursors: Sequence[DeliveryCursor]) -> list[DeliveryLane]:
    """Return the lanes of a subscriber that has these cursors, in the order of their names."""
    by_name = {name: [one for one in cursors if one.lane == name] for name in LaneName}
    return [DeliveryLane.of(subscriber_id, name, some) for name, some in by_name.items() if some]
