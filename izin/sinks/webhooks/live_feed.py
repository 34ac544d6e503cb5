"""What was appended lately, read once for all subscribers that keep up, in bounded memory.

Each subscriber has a place of its own in it. One whose place has left the memory is behind: it
reads on by itself (``webhooks.source``), and comes back where the memory has all that it lacks.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from izin.kafka.partition_client import Place
from izin.projections.wakeup import Wakeup
from izin.runtime.settings import KafkaSettings
from izin.sinks.webhooks.events import EventReader, WebhookEvent
from izin.sinks.webhooks.partitions import PartitionReader, topic_bounds

_MOST = 1000
_WAIT = 0.5
_OVERHEAD = 900
"""Bytes that an event takes beside its body."""
_YIELD = 50
_READ_WITHIN = 5.0
_LOOKBACK = 2000
"""Records of a partition that are read at the start for subscribers that were a little behind."""


class LiveFeed:
    """The end of some topics."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        reader: EventReader,
        *,
        most_bytes: int,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._reader = reader
        self._most_bytes = most_bytes
        self._events: deque[WebhookEvent] = deque()
        self._bytes = 0
        self.first = 0
        """The number of the oldest event in memory."""
        self.starts: dict[Place, int] = {}
        """From which offset on the memory has each partition."""
        self.ends: dict[Place, int] = {}
        """Up to which offset."""
        self._by_place: dict[tuple[str, int, int], WebhookEvent] = {}
        self.changed = Wakeup()

    @property
    def last(self) -> int:
        """The number that the next event will have."""
        return self.first + len(self._events)

    @property
    def is_open(self) -> bool:
        """Whether it has read since the start."""
        return bool(self.ends)

    async def run(self, wanted: Mapping[Place, int]) -> None:
        """Read until cancelled; after an error, on where it was. Raises StreamUnavailableError.

        It begins ``wanted``, where the first of the subscribers is, unless that is far behind.
        """
        if not self.ends:
            _, kept = await asyncio.to_thread(topic_bounds, self._settings, self._topics)
            self.starts = {
                place: max(end - _LOOKBACK, min(wanted.get(place, end), end), 0)
                for place, (_, end) in kept.items()
            }
            self.ends = dict(self.starts)
        reader = PartitionReader(self._settings)
        try:
            await reader.open(self.ends)
            self.changed.notify()
            while True:
                await self._read(reader)
        finally:
            await reader.close()

    async def _read(self, reader: PartitionReader) -> None:
        messages = await reader.poll(_MOST, _WAIT)
        await self._reader.prepare(messages)
        for number, message in enumerate(messages, 1):
            event = self._reader.read(message)
            if event is not None:
                self._events.append(event)
                self._by_place[event.topic, event.partition, event.offset] = event
                self._bytes += len(event.body) + _OVERHEAD
            self.ends[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
            if number % _YIELD == 0:
                self.changed.notify()
                await asyncio.sleep(0)
        self.ends.update(reader.positions)
        self._trim()
        self.changed.notify()

    def _trim(self) -> None:
        while self._bytes > self._most_bytes and self._events:
            event = self._events.popleft()
            self._bytes -= len(event.body) + _OVERHEAD
            del self._by_place[event.topic, event.partition, event.offset]
            self.starts[event.place] = event.offset + 1
            self.first += 1

    async def opened(self) -> None:
        """Return when it has read since the start."""
        while not self.is_open:
            await self.changed.next.wait()

    async def wait_for(self, offsets: Mapping[Place, Collection[int]]) -> None:
        """Return when it has read these ``offsets``, but for those before its beginning; at the
        latest after some seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_READ_WITHIN):
                await self.opened()
                while any(
                    self.ends.get(place, 0) <= max(some, default=-1)
                    for place, some in offsets.items()
                ):
                    await self.changed.next.wait()

    def join(self, positions: Mapping[Place, int]) -> int | None:
        """Return the number from which a reader at ``positions`` goes on here; None: it lacks what
        the memory no longer has. Events before its positions are to be passed.
        """
        is_here = self.is_open and all(
            positions.get(place, 0) >= start for place, start in self.starts.items()
        )
        return self.first if is_here else None

    def find(self, place: Place, offset: int) -> WebhookEvent | None:
        """Return the event of a record, if the memory has it."""
        return self._by_place.get((*place, offset))

    def after(self, number: int, most: int) -> Sequence[WebhookEvent] | None:
        """Return at most ``most`` events from ``number`` on; None: they have left the memory."""
        at = number - self.first
        if at < 0:
            return None
        end = min(at + most, len(self._events))
        return [self._events[one] for one in range(at, end)]
