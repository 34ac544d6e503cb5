"""Where a lane reads: the live feed while it keeps up, else a reader of its own until it does.

Readers of their own are few at a time, and take turns: no subscriber that is far behind keeps
another from catching up.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

from izin.kafka.partition_client import Place
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.sinks.record.errors import StreamUnavailableError
from izin.sinks.webhooks.events import EventReader, WebhookEvent
from izin.sinks.webhooks.lane import DeliveryLane
from izin.sinks.webhooks.live_feed import LiveFeed
from izin.sinks.webhooks.partitions import PartitionReader, bounds

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

_log = get_logger(__name__)


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
    only_changes: bool = False
    """Of a resend: whether it passes what tells of no change."""
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
        fresh = [one for one in events if one.is_change and one.offset >= here.get(one.place, 0)]
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
            events = [one for one in events if one.offset < ends[one.place]]
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
            return not self.only_changes
        return now - self.caught_up_at > _UNCOMPACTED and event.since > self.caught_up_at


def _is_of_opt_outs(place: Place) -> bool:
    return "opt-outs" in place[0]


def _run(offsets: Sequence[int]) -> Sequence[int]:
    """Return the first of ``offsets`` (sorted) that are read in one go."""
    for at in range(1, len(offsets)):
        if offsets[at] - offsets[at - 1] > _GAP:
            return offsets[:at]
    return offsets
