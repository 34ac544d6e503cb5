"""Read a page: what lies before a cursor, for the holder of one API key.

Partitions at whose end the client is, or nearly so, are read from memory; the others from Kafka, a
few at a time, in turn. The records of a partition keep their order, and so do those of a key;
between partitions there is none. Whatever is read moves the cursor, also where nothing of it is for
this client, so that no page is searched twice; and a page ends when its time is up.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from izin.schemas.api_keys import ApiKey
from izin.sinks.feeds.log import UNDECIDED, Stretch
from izin.sinks.feeds.protocol import Cursor
from izin.sinks.feeds.sources import FeedSource

_FROM_MEMORY = 500
"""The most records of a partition that are taken before the event loop has its turn."""
_PARTITIONS_AT_ONCE = 8
_BRANDS_ASKED_EVERY = 0.05
"""Seconds until a record whose brand is not known is looked at again."""
_FEWEST, _MOST = 100, 2000
"""The records that one reading of older ones asks for: more where few are for the client."""


class PageReading:
    """The page that is being read for one request."""

    def __init__(self, source: FeedSource, cursor: Cursor, key: ApiKey, *, limit: int) -> None:
        self.items: list[bytes] = []
        self.is_at_end = False
        """Whether there was nothing else when it was looked last."""
        self._source = source
        self._begun = cursor
        self.key = key
        """Of the client; it may change while a request waits."""
        self._limit = limit
        self._offsets = dict(cursor.offsets)
        self._turn = cursor.turn
        self._ended: set[int] = set()
        """The partitions that Kafka showed to have nothing more."""
        self._scanned = 0
        self._waits = False
        """Whether a record waits until its brand is known."""

    @property
    def is_full(self) -> bool:
        """Whether it has as many items as were asked for."""
        return len(self.items) >= self._limit

    async def fill(self, until: float) -> None:
        """Read until the page is full, the end is reached, or the event loop's clock shows
        ``until``.

        Raises:
            LostOffsetError: the topic has nothing any more at an offset of the cursor.
            UnreachableLogError: Kafka does not answer.
        """
        clock = asyncio.get_running_loop().time
        self.is_at_end = False
        self._ended.clear()
        while not self.is_full:
            moved = self._read_memory()
            behind = self._behind()
            if behind and not self.is_full:
                await self._read_older(behind)
            elif not moved:
                self.is_at_end = True
                return
            if clock() >= until:
                return
            await asyncio.sleep(_BRANDS_ASKED_EVERY if self._waits else 0)
            self._waits = False

    def reaches(self, offsets: Mapping[int, int]) -> bool:
        """Whether everything below ``offsets`` was read."""
        return all(self._offsets.get(number, 0) >= one for number, one in offsets.items())

    def cursor(self, now: datetime | None) -> Cursor:
        """Return the cursor behind this page; ``now`` is when it was looked last, None where what
        was seen may not be all.
        """
        ends = self._begun.ends
        if ends is not None and self.reaches(ends):
            ends = None
        return replace(
            self._begun,
            offsets=dict(self._offsets),
            ends=ends,
            turn=self._turn,
            complete_at=now if now is not None and self.is_at_end else self._begun.complete_at,
        )

    def _in_turn(self) -> list[int]:
        count = self._source.identity.partitions
        return [(self._turn + place) % count for place in range(count)]

    def _read_memory(self) -> bool:
        """Take what is in memory; return whether the cursor has moved."""
        recent, offsets = self._source.tail.recent, self._offsets
        ready = [
            number
            for number in self._in_turn()
            if recent[number].covers(offsets[number]) and offsets[number] < recent[number].end
        ]
        for number in ready:
            if self.is_full:
                break
            share = max(1, (self._limit - len(self.items)) // len(ready))
            most = min(_FROM_MEMORY, max(share, _FEWEST))
            self._take(number, recent[number].read(offsets[number], most), share)
        return bool(ready)

    def _behind(self) -> list[int]:
        """Return the partitions, in turn, that must be read from Kafka."""
        recent, offsets = self._source.tail.recent, self._offsets
        return [
            number
            for number in self._in_turn()
            if not recent[number].covers(offsets[number]) and number not in self._ended
        ]

    async def _read_older(self, behind: list[int]) -> None:
        starts = {number: self._offsets[number] for number in behind[:_PARTITIONS_AT_ONCE]}
        wanted = max(2 * (self._limit - len(self.items)), self._scanned)
        most = min(_MOST, max(_FEWEST, wanted))
        found = await self._source.older.read(
            self._source.feed.topic.name, starts, most, name=self.key.name
        )
        share = max(1, (self._limit - len(self.items)) // len(found))
        for number, start in starts.items():
            stretch = found[number]
            if stretch.is_last and stretch.end == start:
                self._ended.add(number)
            elif not self.is_full:
                self._take(number, stretch, share)

    def _take(self, number: int, stretch: Stretch, share: int) -> None:
        """Take ``stretch`` of a partition, up to ``share`` items, and move the cursor."""
        most = min(self._limit, len(self.items) + share)
        self._turn = (number + 1) % self._source.identity.partitions
        for record in stretch.records:
            item = self._source.items.of(record, self.key)
            if item is UNDECIDED:
                self._waits = True
                break
            self._scanned += 1
            self._offsets[number] = record.offset + 1
            if item is not None:
                self.items.append(item)
                if len(self.items) >= most:
                    break
        else:
            self._offsets[number] = stretch.end
