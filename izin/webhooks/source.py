"""Where a lane reads: the live feed while it keeps up, else a reader of its own until it does.

The live feed has what was appended lately, read once for all subscribers that keep up, in bounded
memory. Each subscriber has a place of its own in it. One whose place has left the memory is behind:
it reads on by itself, and comes back where the memory has all that it lacks. Readers of their own
are few at a time, and take turns: no subscriber that is far behind keeps another from catching up.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from izin.kafka.bounded_reader import Place
from izin.kafka.tables.latest_records import Wakeup
from izin.ledger.record import StreamUnavailableError
from izin.runtime.logs import get_logger
from izin.runtime.settings import KafkaSettings
from izin.webhooks.events import EventReader, WebhookEvent
from izin.webhooks.partitions import DeliveryLane, PartitionReader, bounds, topic_bounds

READERS = 8
"""Readers of their own that a process has at a time."""
_TURN = 5.0
"""Seconds for which one reads while others wait."""
_POLL = 0.3
_GAP = 1000
"""Offsets between two open ones that are read over rather than sought."""
_UNCOMPACTED = timedelta(hours=23)
"""So long the topic of permissions has every record, less an hour."""
_SILENT_AFTER = 10.0

_MOST = 1000
_WAIT = 0.5
_OVERHEAD = 900
"""Bytes that an event takes beside its body."""
_YIELD = 50
_READ_WITHIN = 5.0
_LOOKBACK = 2000
"""Records of a partition that are read at the start for subscribers that were a little behind."""

_log = get_logger(__name__)


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
        while not self.ends:
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
        is_here = bool(self.ends) and all(
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


@dataclass(frozen=True, slots=True)
class Taken:
    """What a lane takes: events, and how far each partition is read behind them."""

    events: Sequence[WebhookEvent]
    positions: Mapping[Place, int]
    is_live: bool


@dataclass(slots=True)
class LaneSource:
    """What one lane reads next."""

    lane: DeliveryLane
    feed: LiveFeed | None
    """None: a resend, which has an end."""
    reader: EventReader
    settings: KafkaSettings
    turns: asyncio.Semaphore
    caught_up_at: datetime
    _number: int | None = None
    _own: PartitionReader | None = None
    _turn_ends: float = 0.0
    _has_turn: bool = False
    _is_checked: bool = False

    @property
    def is_behind(self) -> bool:
        """Whether it is followed, and does not keep up."""
        return self.feed is not None and self._number is None

    async def take(self, most: int) -> Taken:
        """Return what comes next and is to be delivered, at most ``most`` events; waits for it a
        while.

        Raises:
            StreamUnavailableError: Kafka does not answer.
            RegistryError: the schema of a record cannot be fetched now.
        """
        if self.feed is not None:
            await self.feed.opened()
            if self._number is None and (number := self.feed.join(self.lane.positions)) is not None:
                await self.release()
                self._number = number
            if self._number is not None:
                return await self._take_live(self.feed, self._number, most)
        return await self._take_own(most)

    async def _take_live(self, feed: LiveFeed, number: int, most: int) -> Taken:
        if number == feed.last:
            await feed.changed.next.wait()
        events = feed.after(number, most)
        if events is None:
            self._number = None
            return Taken((), {}, is_live=False)
        self._number = number + len(events)
        here = self.lane.positions
        fresh = [
            event
            for event in events
            if event.is_change and event.offset >= here.get(event.place, 0)
        ]
        is_all = self._number == feed.last
        positions = dict(feed.ends) if is_all else {one.place: one.offset + 1 for one in events}
        return Taken(fresh, positions, is_live=True)

    async def _take_own(self, most: int) -> Taken:
        wanted = self._unread()
        if self._own is not None and not wanted.keys() <= self._own.positions.keys():
            await self.release()
        own = await self._opened(wanted)
        events = await self._read(own, most, must_move=bool(self.lane.ends))
        positions = dict(own.positions)
        if self._turn_ends < monotonic():
            await self.release()
        if self.lane.ends:
            ends = self.lane.ends
            events = [event for event in events if event.offset < ends[event.place]]
            positions = {place: min(at, ends[place]) for place, at in positions.items()}
        now = datetime.now(UTC)
        return Taken([one for one in events if self._is_due(one, now)], positions, is_live=False)

    async def _read(
        self, own: PartitionReader, most: int, *, must_move: bool
    ) -> list[WebhookEvent]:
        """Return the events of what is there; ``must_move``: there is something to read."""
        messages = await own.poll(most, _POLL)
        if must_move and monotonic() - own.moved_at > _SILENT_AFTER:
            raise StreamUnavailableError("webhooks: the topics cannot be read now")
        await self.reader.prepare(messages)
        return [event for message in messages if (event := self.reader.read(message)) is not None]

    def _unread(self) -> Mapping[Place, int]:
        """Return where it reads on: of a resend what is not read to its end, opt-outs first."""
        here, ends = self.lane.positions, self.lane.ends
        if not ends:
            return here
        unread = {place: at for place, at in here.items() if at < ends[place]}
        return {place: at for place, at in unread.items() if _is_of_opt_outs(place)} or unread

    async def _opened(self, positions: Mapping[Place, int]) -> PartitionReader:
        if self._own is None:
            await self.turns.acquire()
            self._has_turn = True
            self._turn_ends = monotonic() + _TURN
            if not self._is_checked:
                await self._check(positions)
            self._own = PartitionReader(self.settings)
            await self._own.open(positions)
        return self._own

    async def _check(self, positions: Mapping[Place, int]) -> None:
        """Report what retention has removed before it was read."""
        kept = await asyncio.to_thread(bounds, self.settings, list(positions))
        for place, (start, _) in kept.items():
            if positions[place] < start and _is_of_opt_outs(place):
                _log.critical(
                    "records removed before they were delivered",
                    subscriber=self.lane.subscriber_id,
                    topic=place[0],
                    partition=place[1],
                    records=start - positions[place],
                )
            self.lane.move(place, start)
        self._is_checked = True

    async def release(self) -> None:
        """Close the reader of its own, and leave its turn to others."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()
        if self._has_turn:
            self._has_turn = False
            self.turns.release()

    async def reopen(self) -> Sequence[WebhookEvent]:
        """Return the events of the lane's open offsets, in the order of each partition; those that
        are gone are closed.
        """
        if self.feed is not None:
            await self.feed.wait_for(self.lane.open)
        found = {
            (place, offset): event
            for place, offsets in self.lane.open.items()
            for offset in offsets
            if self.feed is not None and (event := self.feed.find(place, offset)) is not None
        }
        missing = {
            place: sorted(one for one in offsets if (place, one) not in found)
            for place, offsets in self.lane.open.items()
        }
        try:
            while missing := {place: offsets for place, offsets in missing.items() if offsets}:
                read = await self._read_open({place: _run(one) for place, one in missing.items()})
                found |= {(one.place, one.offset): one for one in read}
                missing = {place: one[len(_run(one)) :] for place, one in missing.items()}
        finally:
            await self.release()
        self._close_gone(found.keys())
        return [found[one] for one in sorted(found)]

    async def _read_open(self, runs: Mapping[Place, Sequence[int]]) -> list[WebhookEvent]:
        """Return the events of one run of offsets of each partition."""
        await self.release()
        self._is_checked = True
        own = await self._opened({place: run[0] for place, run in runs.items()})
        found = list[WebhookEvent]()
        while any(own.positions[place] <= run[-1] for place, run in runs.items()):
            events = await self._read(own, _GAP, must_move=True)
            found += [event for event in events if event.offset in runs[event.place]]
        self._is_checked = False
        return found

    def _close_gone(self, kept: Collection[tuple[Place, int]]) -> None:
        for place, offsets in list(self.lane.open.items()):
            for offset in sorted(offsets):
                if (place, offset) not in kept:
                    _log.critical(
                        "record to deliver is gone from its topic",
                        subscriber=self.lane.subscriber_id,
                        topic=place[0],
                        partition=place[1],
                        offset=offset,
                    )
                    self.lane.close(place, offset)

    def _is_due(self, event: WebhookEvent, now: datetime) -> bool:
        """Whether an event that was read behind the others is to be delivered: it tells of a
        change, or of an answer whose change may have been compacted away before it was read.
        """
        if event.is_change or event.since is None:
            return event.is_change
        if self.feed is None:
            return True
        return now - self.caught_up_at > _UNCOMPACTED and event.since > self.caught_up_at


def _is_of_opt_outs(place: Place) -> bool:
    return "opt-outs" in place[0]


def _run(offsets: Sequence[int]) -> Sequence[int]:
    """Return the first of ``offsets`` (sorted) that are read in one go."""
    for at in range(1, len(offsets)):
        if offsets[at] - offsets[at - 1] > _GAP:
            return offsets[:at]
    return offsets
