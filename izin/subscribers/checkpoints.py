"""Up to where the changes of a partition are confirmed, and where that is kept.

Kept is the offset below which everything is confirmed, so a change that is not confirmed comes
again, and those behind it too.
"""

from collections import OrderedDict
from typing import Protocol


class CheckpointStore(Protocol):
    """Keeps checkpoints for one subscriber, instead of Kafka's consumer group.

    ``done`` awaits ``save``. A caller that does both in one transaction of its own database has
    handled each change exactly once::

        async with database.transaction():
            await stop_sending(change.key)
            await change.done()

    Instances that share the partitions of one subscriber share the store. One that was paused may
    save an old offset late: keep the greatest.
    """

    async def load(self, topic: str, partition: int) -> int | None:
        """Return the greatest offset that was saved, None if there is none."""

    async def save(self, topic: str, partition: int, offset: int) -> None:
        """Keep ``offset``, the next to read, unless a greater one is kept."""


class PartitionCheckpoint:
    """What was read of one partition, and what of it is not confirmed. Not safe among threads."""

    def __init__(self) -> None:
        self._unconfirmed: OrderedDict[int, None] = OrderedDict()
        self._next: int | None = None
        self._moved_to: int | None = None
        self._saved: tuple[int | None, float] = (None, float("-inf"))

    @property
    def unconfirmed(self) -> int:
        """How many changes were read and are not confirmed."""
        return len(self._unconfirmed)

    @property
    def checkpoint(self) -> int | None:
        """The offset to go on from after a restart; None: nothing was read."""
        return next(iter(self._unconfirmed), self._next)

    def add(self, offset: int, *, is_wanted: bool) -> None:
        """Note that the record at ``offset`` was read; nobody confirms one that is not wanted."""
        self._next = offset + 1
        if is_wanted:
            self._unconfirmed[offset] = None

    def confirm(self, offset: int) -> None:
        """Note that the change at ``offset`` was handled; twice does no harm."""
        self._unconfirmed.pop(offset, None)

    def is_first(self, offset: int) -> bool:
        """Whether every change before ``offset`` is confirmed."""
        return next(iter(self._unconfirmed), offset) >= offset

    def moved(self) -> int | None:
        """Return the checkpoint if it is another than at the last call."""
        checkpoint = self.checkpoint
        if checkpoint == self._moved_to:
            return None
        self._moved_to = checkpoint
        return checkpoint

    def saved(self, offset: int, at: float) -> None:
        """Note that a store keeps ``offset`` since ``at``, in seconds of a clock."""
        self._saved = offset, at

    def is_to_be_saved(self, before: float) -> bool:
        """Whether a store has another checkpoint, and has had it since ``before``."""
        offset, at = self._saved
        return self.checkpoint != offset and at <= before
