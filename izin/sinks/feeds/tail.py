"""The latest records of a topic, followed into memory: what clients at its end read.

One consumer follows every partition, however many clients wait. Of each partition the most recent
records are kept: bounded in bytes, and for an hour at most, for they are personal data. What is
older is read from Kafka (``older_records``). They belong to the event loop: a thread reads, and
hands over there what it has read.
"""

import asyncio
import threading
from bisect import bisect_left
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.projections.wakeup import Wakeup
from izin.runtime.broker_faults import is_unreadable
from izin.runtime.kafka import consumer
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.sinks.feeds.log import LogRecord, Stretch

_POLL = 0.2
_AT_ONCE = 1000
_AHEAD_KB = 16 * 1024
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
        self._offsets: list[int] = []
        self._first = 0
        """The place of the oldest record that was not dropped."""

    def reset(self) -> None:
        """Forget everything: what comes next may be anywhere."""
        self.start, self.end, self._size, self._first = None, 0, 0, 0
        self._records.clear()
        self._offsets.clear()

    def add(self, record: LogRecord) -> None:
        """Append the next record."""
        if self.start is not None and record.offset < self.end:
            # The log was cut behind us: what is here may not be there any more.
            self.reset()
        if self.start is None:
            self.start = record.offset
        self._records.append(record)
        self._offsets.append(record.offset)
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
        begin = max(self._first, bisect_left(self._offsets, offset))
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
        del self._offsets[: self._first]
        self._first = 0


class Tail:
    """Follows ``topic`` from its end on.

    The records of all partitions take ``most_bytes`` of memory together.
    """

    def __init__(
        self, settings: KafkaSettings, topic: str, partitions: int, *, most_bytes: int
    ) -> None:
        self.recent: Mapping[int, RecentRecords] = {
            number: RecentRecords(most_bytes // partitions) for number in range(partitions)
        }
        self.changed = Wakeup()
        self._settings = settings
        self._topic = topic
        self._thread: threading.Thread | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it is followed, and the end of every partition is known."""
        is_followed = self._thread is not None and self._thread.is_alive()
        return is_followed and all(recent.start is not None for recent in self.recent.values())

    def ends(self) -> dict[int, int] | None:
        """Return up to where each partition was read; None while that is not known of all."""
        return {number: one.end for number, one in self.recent.items()} if self.is_ready else None

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the topic until the context ends; within a running event loop."""
        loop, stopped = asyncio.get_running_loop(), threading.Event()
        self._thread = threading.Thread(
            target=self._follow, args=(loop, stopped), name=f"tail {self._topic}", daemon=True
        )
        self._thread.start()
        try:
            yield
        finally:
            # Not joined here: it may wait for this very loop.
            stopped.set()

    def join(self) -> None:
        """Wait for the thread that was stopped, while the event loop goes on."""
        if self._thread is not None:
            self._thread.join(_ENDS_WITHIN)

    def take(self, messages: Sequence[Message]) -> None:
        """Take what was polled, records and ends."""
        for message in messages:
            fault = message.error()
            if fault is None:
                self.recent[message.partition() or 0].add(LogRecord(message))
            elif fault.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public spelling
                self.recent[message.partition() or 0].reach(message.offset() or 0)
        self.changed.notify()

    def drop_before(self, milliseconds: int) -> None:
        """Drop what was written before an instant, in milliseconds since 1970."""
        for recent in self.recent.values():
            recent.drop_before(milliseconds)

    def forget(self) -> None:
        """Forget everything: from now on the topic is read from another place."""
        for recent in self.recent.values():
            recent.reset()

    def _follow(self, loop: asyncio.AbstractEventLoop, stopped: threading.Event) -> None:
        while not stopped.is_set():
            client = self._consumer()
            try:
                self._hand_over(self._forgetting(), loop, stopped)
                self._read(client, loop, stopped)
            except KafkaException as error:
                _log.warning("topic not followed", topic=self._topic, error=error.args[0].str())
                stopped.wait(_RETRY_AFTER)
            except Exception:  # noqa: BLE001  # whatever it is, somebody must go on reading
                _log.exception("topic not followed", topic=self._topic)
                stopped.wait(_RETRY_AFTER)
            finally:
                client.close()

    def _consumer(self) -> Consumer:
        return consumer(
            self._settings,
            f"izin-feed-{self._topic}",
            **{
                "allow.auto.create.topics": False,
                # To go on elsewhere would leave out what is in between.
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": _AHEAD_KB,
            },
        )

    def _read(
        self, client: Consumer, loop: asyncio.AbstractEventLoop, stopped: threading.Event
    ) -> None:
        # Else it would look for leaders when it needs them, and again half a second later.
        client.list_topics(self._topic, timeout=_RETRY_AFTER)
        client.assign([TopicPartition(self._topic, one, OFFSET_END) for one in self.recent])
        while not stopped.is_set():
            messages = client.consume(1, _POLL)
            if not messages:
                continue
            messages += client.consume(_AT_ONCE - 1, 0)
            for one in messages:
                fault = one.error()
                if fault is not None and not is_unreadable(one) and _is_final(fault):
                    raise KafkaException(fault)
            self._hand_over(self._taking(messages), loop, stopped)

    async def _taking(self, messages: Sequence[Message]) -> None:
        self.take(messages)

    async def _forgetting(self) -> None:
        self.forget()

    def _hand_over(
        self,
        work: Coroutine[Any, Any, None],
        loop: asyncio.AbstractEventLoop,
        stopped: threading.Event,
    ) -> None:
        """Have ``work`` done in the event loop, and wait for it: the loop is never flooded."""
        try:
            done = asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:  # the loop has ended
            work.close()
            stopped.set()
            return
        while not stopped.is_set():
            with suppress(FutureTimeoutError):
                try:
                    done.result(_POLL)
                except FutureCancelledError:  # the loop ends
                    stopped.set()
                return


def _is_final(fault: KafkaError) -> bool:
    """Whether the consumer does not go on by itself."""
    return fault.code() in {
        KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001  # its public spelling
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001  # the same
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  # the same
    }
