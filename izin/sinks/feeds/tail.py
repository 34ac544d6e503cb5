"""The latest records of a topic, followed into memory: what clients at its end read.

One consumer follows every partition, however many clients wait. Of each partition the most recent
records are kept: bounded in bytes, and for an hour at most, for they are personal data. What is
older is read from Kafka (``older_records``). They belong to the event loop: a thread reads, and
hands over there what it has read.
"""

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from time import monotonic

from confluent_kafka import Message

from izin.kafka.follower import RecordFollower
from izin.projections.wakeup import Wakeup
from izin.runtime.errors import BrokerError
from izin.runtime.kafka import committed_ends, connection_of
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.topics import Topic
from izin.sinks.feeds.log import LogRecord, Stretch

CURRENT_FOR = 10.0
"""Seconds: so long ago may be what was read in full."""
_POLL = 0.2
_RETRY_AFTER = 1.0
_ENDS_WITHIN = 3.0

_log = get_logger(__name__)


class RecentRecords:
    """The latest records of one partition, from ``start`` up to ``end``."""

    def __init__(self, most_bytes: int) -> None:
        self.start: int | None = None
        """The first offset that it covers; None: not known yet."""
        self.end = 0
        self._most = most_bytes
        self._size = 0
        self._records: list[LogRecord] = []
        self._first = 0
        """The place of the oldest record that was not dropped."""

    def reset(self) -> None:
        """Forget everything: what comes next may be anywhere."""
        self.start, self.end, self._size, self._first = None, 0, 0, 0
        self._records.clear()

    def add(self, record: LogRecord) -> None:
        """Append the next record."""
        if self.start is not None and record.offset < self.end:
            # The log was cut behind us: what is here may not be there any more.
            self.reset()
        if self.start is None:
            self.start = record.offset
        self._records.append(record)
        self._size += record.size
        self.end = record.offset + 1
        while self._size > self._most:
            self._drop()

    def reach(self, end: int) -> None:
        """Note that there is no other record below ``end``."""
        if self.start is None or end < self.end:
            self.reset()
            self.start = end
        self.end = end

    def drop_before(self, milliseconds: int) -> None:
        """Drop the records that were written before an instant, in milliseconds since 1970."""
        while self._first < len(self._records):
            if self._records[self._first].timestamp >= milliseconds:
                break
            self._drop()
        self._cut()

    def covers(self, offset: int) -> bool:
        """Whether everything from ``offset`` on is here."""
        return self.start is not None and self.start <= offset <= self.end

    def read(self, offset: int, most: int) -> Stretch:
        """Return up to ``most`` records from ``offset`` on, which it covers."""
        begin = bisect_left(self._records, offset, self._first, key=attrgetter("offset"))
        found = self._records[begin : begin + most]
        whole = begin + len(found) == len(self._records)
        return Stretch(found, self.end if whole else found[-1].offset + 1, whole)

    def _drop(self) -> None:
        dropped = self._records[self._first]
        self._size -= dropped.size
        self._first += 1
        self.start = dropped.offset + 1
        if self._first * 2 > len(self._records):
            self._cut()

    def _cut(self) -> None:
        """Free what was dropped."""
        del self._records[: self._first]
        self._first = 0


class Tail:
    """Follows ``topic`` from its end on.

    The records of all partitions take ``most_bytes`` of memory together.
    """

    def __init__(
        self, settings: KafkaSettings, topic: Topic, partitions: int, *, most_bytes: int
    ) -> None:
        self.recent: Mapping[int, RecentRecords] = {
            number: RecentRecords(most_bytes // partitions) for number in range(partitions)
        }
        self.changed = Wakeup()
        self._settings = settings
        self._topic = topic
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._follower: RecordFollower | None = None
        self._taken: list[LogRecord] = []
        """What was read and is not handed over."""
        self._made_at = monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether it is followed, and the end of every partition is known."""
        is_followed = self._thread is not None and self._thread.is_alive()
        return is_followed and all(recent.start is not None for recent in self.recent.values())

    def is_current(self) -> bool:
        """Whether everything was read that there was a few seconds ago."""
        read_at = self._made_at
        if self._follower is not None:
            read_at = max(read_at, min(map(self._follower.complete_at, self.recent)))
        return monotonic() - read_at < CURRENT_FOR

    def ends(self) -> dict[int, int] | None:
        """Return up to where each partition was read; None while that is not known of all."""
        return {number: one.end for number, one in self.recent.items()} if self.is_ready else None

    def start(self) -> None:
        """Follow the topic until :meth:`stop`; within a running event loop."""
        self._thread = threading.Thread(
            target=self._follow,
            args=(asyncio.get_running_loop(),),
            name=f"tail {self._topic.name}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end soon. It is not waited for, as it may wait for this very loop."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for the thread that was stopped, while the event loop goes on."""
        if self._thread is not None:
            self._thread.join(_ENDS_WITHIN)

    def add(self, records: Iterable[LogRecord], positions: Mapping[int, int]) -> None:
        """Add what was read, and note up to where each partition was read by then."""
        for one in records:
            self.recent[one.partition].add(one)
        for number, position in positions.items():
            self.recent[number].reach(position)
        self.changed.notify()

    def drop_before(self, milliseconds: int) -> None:
        """Drop what was written before an instant, in milliseconds since 1970."""
        for recent in self.recent.values():
            recent.drop_before(milliseconds)

    def forget(self) -> None:
        """Forget everything: from now on the topic is read from another place."""
        for recent in self.recent.values():
            recent.reset()

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopped.is_set():
            try:
                ends = committed_ends(self._settings, self._topic.name)
                self._call(loop, self.forget)
                follower = self._follower = RecordFollower(
                    connection_of(self._settings),
                    self._topic,
                    self,
                    starts=ends,
                    moved=partial(self._hand_over, loop),
                )
                with follower.follow(complete=False):
                    self._stopped.wait()
            except BrokerError as error:
                _log.warning("topic not followed", topic=self._topic.name, error=str(error))
                self._stopped.wait(_RETRY_AFTER)

    def take(self, records: Sequence[Message]) -> int:
        """Take all of ``records``, in the thread of the follower."""
        self._taken.extend(map(LogRecord, records))
        return len(records)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over what was taken, with up to where the topic was read."""
        records, self._taken = self._taken, []
        if self._follower is not None:
            self._call(loop, partial(self.add, records, dict(self._follower.positions)))

    def _call(self, loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
        """Have ``work`` done in the event loop, and wait for it: the loop is never flooded."""
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        try:
            loop.call_soon_threadsafe(run)
        except RuntimeError:  # the loop has ended
            self._stopped.set()
        while not done.wait(_POLL) and not self._stopped.is_set():
            pass
