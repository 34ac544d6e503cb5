"""A topic followed into memory: read to its end, and from then on continuously.

Reading is not enough to know that nothing is missing: a process that Kafka no longer reaches reads
nothing, and notices nothing. So the end of the topic is asked for every second, and
:meth:`RecordFollower.age` says for how long nobody has seen the table complete. It is counted from
before the question, by a clock that goes on while the process is frozen. It is known of each
partition: one that cannot be read says nothing of the others, and does not keep them waiting.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.consent import OurError
from izin.kafka.connections import (
    Brokers,
    broker_errors,
    consumer,
    is_unreadable,
    missing_topic,
    unreadable_error,
)
from izin.kafka.follower.end import RECONNECT, TopicEnd, asking_client, leaders_of
from izin.runtime.plain_log import PlainLogger
from izin.runtime.unreadable import note_unreadable, unreadable_batches
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic

_TIMEOUT = 15.0
"""Seconds in which something must be read, before the topic counts as unreadable."""
_POLL = 0.1
_REST = 0.5
"""Seconds for which a follower that has read all waits for a record, which ends the wait."""
_FRESH = 5.0
"""Seconds for which the table may not have been seen complete where reading it is done."""
_PAUSE = 1.0
_ASKED_WITHIN = 1.0
_PASSED_AFTER = 1.0
"""Seconds without a record, after which a partition is not read that need not be."""
_LOADED_AT_ONCE = 1000
_FOLLOWED_AT_ONCE = 100
"""Records, for other threads of the process wait meanwhile."""
_OPTIONS = {
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    # What librdkafka may fetch ahead, and of each partition at a time: compressed records grow
    # tenfold, and a topic is read no faster with more.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.message.max.bytes": 64 * 1024,
}
_ISOLATION = {
    IsolationLevel.READ_COMMITTED: "read_committed",
    IsolationLevel.READ_UNCOMMITTED: "read_uncommitted",
}

_log = PlainLogger(__name__)


@contextmanager
def in_thread(
    run: Callable[[], None], name: str, stopped: threading.Event, within: float | None = None
) -> Iterator[None]:
    """``run`` in a thread until the context ends: then ``stopped`` is set, and it is waited for,
    ``within`` seconds at most.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(within)


class RecordTable(Protocol):
    """What the records of a topic are read into as they are: written by one thread."""

    def take(self, records: Sequence[Message]) -> int:
        """Take ``records``, in their order, and return how many: all but where the schema of the
        next one cannot be fetched now.
        """


class RecordFollower:
    """Reads the records of ``topic`` into ``table``.

    ``reads`` says which records are read, ``until`` for whose readers the topic ends where the
    table is complete: with READ_UNCOMMITTED, behind the transactions that have not ended.
    ``starts`` says from which offset a partition is read; the others are from their beginning.
    ``moved`` is called, in the thread that reads, after positions have changed. ``unneeded`` says
    below which offset a partition need not be read any more: one that cannot be goes on there.

    A batch that Kafka's client cannot unpack is never passed otherwise, nor one whose records claim
    offsets beyond the end of the partition: the client would go on there. What is behind it is not
    read, and its partition is not seen complete any more.
    """

    def __init__(  # noqa: PLR0913  # what is read, and in which manner, by keyword
        self,
        connection: Brokers,
        topic: Topic,
        table: RecordTable,
        *,
        reads: IsolationLevel = IsolationLevel.READ_COMMITTED,
        until: IsolationLevel = IsolationLevel.READ_COMMITTED,
        starts: Mapping[int, int] = MappingProxyType({}),
        moved: Callable[[], None] = lambda: None,
        unneeded: Callable[[int], int] = lambda _: 0,
    ) -> None:
        self.topic = topic
        self._connection = connection
        self._table = table
        self._isolation = {"isolation.level": _ISOLATION[reads]}
        self._until = until
        self._starts = starts
        self._moved = moved
        self._unneeded = unneeded
        self._seen: tuple[float, dict[int, int]] = 0.0, {}
        """When it was looked for partitions that stand, and the positions then."""
        self.unread_since = float("inf")
        """For which instant, by ``time.monotonic``, it is known that something was there that is
        not read yet; infinity: nothing was."""
        self.positions: dict[int, int] = {}
        """Up to which offset each partition was read."""
        self._complete_at: dict[int, float] = {}
        self._waiting: dict[int, list[Message]] = {}
        """By partition: what was read and waits for a schema."""
        self._retried_at = 0.0
        self._ends: dict[int, int] = {}
        """By partition: an offset that it has not reached, as of its last look-up."""
        self._misplaced: set[int] = set()
        """Partitions that stand at a batch whose records claim offsets beyond the end."""
        self._stopped = threading.Event()

    def complete_at(self, partition: int) -> float:
        """Return for which instant, by ``time.monotonic``, it is known that ``partition`` was read
        to its end; minus infinity: for none.
        """
        return self._complete_at.get(partition, float("-inf"))

    def age(self) -> float | None:
        """Return for how many seconds the table was not seen complete; None: it never was."""
        known = tuple(self._complete_at.values())
        oldest = min(known, default=0.0) if len(known) == len(self.positions) else 0.0
        return monotonic() - oldest if oldest > 0 else None

    def stop(self) -> None:
        """End reading soon, whoever reads; what is known stays known."""
        self._stopped.set()

    def load(self) -> None:
        """Read the topic to its end.

        Raises:
            BrokerError: the topic cannot be read.
        """
        with self._reading() as (client, end):
            self._read_to_end(client, end)

    @contextmanager
    def follow(self, *, complete: bool = True, partly: bool = False) -> Iterator[None]:
        """Keep the table up to date until the context ends; from the start, it is ``complete``, or
        ``partly`` so where some partitions cannot be read.

        Raises:
            BrokerError: the topic does not exist, or cannot be read.
        """
        with self._reading() as (client, end):
            if complete:
                self._read_to_end(client, end, partly=partly)
            with in_thread(partial(self._follow, client, end), self.topic.name, self._stopped):
                yield
            self._stopped.clear()

    @contextmanager
    def _reading(self) -> Iterator[tuple[Consumer, TopicEnd]]:
        name = self.topic.name
        options = {**_OPTIONS, **RECONNECT, **self._isolation}
        with closing(consumer(self._connection, f"izin-{name}", **options)) as client:
            with broker_errors(self._connection):
                found = client.list_topics(name, timeout=_TIMEOUT).topics[name]
            if found.error is not None:
                raise missing_topic(name)
            self.positions = {
                partition: self._starts.get(partition, 0) for partition in found.partitions
            }
            self._complete_at.clear()
            self._assign(client)
            asking = asking_client(self._connection)
            yield client, TopicEnd(asking, name, leaders_of(found.partitions), self._until)

    def _assign(self, client: Consumer) -> None:
        """Read each partition on from its position (0: from the earliest record)."""
        self._waiting.clear()
        self._ends.clear()
        self._misplaced.clear()
        places = [
            TopicPartition(self.topic.name, number, position or OFFSET_BEGINNING)
            for number, position in self.positions.items()
        ]
        # Before, since assigning returns while the start of reading is still queued: Kafka's client
        # drops a start that a later resume has overtaken, and the partition stands still.
        client.resume(places)
        client.assign(places)

    def _read_to_end(self, client: Consumer, end: TopicEnd, *, partly: bool = False) -> None:
        moved_at, seen = monotonic(), dict[int, int]()
        # A snapshot may take longer than the table may be old: what came meanwhile is read too.
        while not self._stopped.is_set():
            behind = {
                number: position
                for number, position in self.positions.items()
                if monotonic() - self.complete_at(number) >= _FRESH
            }
            if not behind:
                return
            if behind != seen:
                moved_at, seen = monotonic(), behind
            if monotonic() - moved_at > _TIMEOUT or len(behind) <= len(
                unreadable_batches(self.topic.name)
            ):
                self._give_up(behind, partly=partly)
                return
            messages = self._consume(client, _LOADED_AT_ONCE, _POLL)
            for message in messages:
                self._check(message)
            self._take(client, messages)
            self._look(client, end)

    def _check(self, message: Message) -> None:
        """Raise BrokerError where nothing will be read in the end."""
        fault = message.error()
        if fault is not None and not (
            _is_end(fault) or is_unreadable(message) or fault.retriable()
        ):
            with broker_errors(self._connection):
                raise KafkaException(fault)

    def _give_up(self, behind: Collection[int], *, partly: bool) -> None:
        name = self.topic.name
        if not partly or (len(behind) == len(self.positions) and not unreadable_batches(name)):
            raise unreadable_error(name, f"topic {name} could not be read within {_TIMEOUT:.0f} s")
        _log.error("partitions not read", topic=self.topic.name, partitions=sorted(behind))

    def _follow(self, client: Consumer, end: TopicEnd) -> None:
        while not self._stopped.is_set():
            try:
                # An answer says how fresh the table is: the sooner it is taken, the fresher.
                wait = _POLL if end.is_awaited else _REST
                self._take(client, self._consume(client, _FOLLOWED_AT_ONCE, wait))
                self._look(client, end)
            except Exception as error:  # noqa: BLE001  # whatever it is, somebody must go on reading
                _log.error("topic not read", topic=self.topic.name, error=repr(error))
                self._stopped.wait(_PAUSE)
                self._assign(client)

    def _consume(self, client: Consumer, most: int, wait: float) -> list[Message]:
        """Return what there is, as soon as there is something; nothing after ``wait`` seconds.
        Asked for more than one, Kafka's client waits for as many.
        """
        found = client.consume(1, wait)
        return found + client.consume(most - 1, 0) if found else found

    def _look(self, client: Consumer, end: TopicEnd) -> None:
        self._complete_at.update(end.reached(self.positions))
        self.unread_since = end.unread_since()
        looked_at, seen = self._seen
        if monotonic() - looked_at < _PASSED_AFTER:
            return
        for number, position in self.positions.items():
            unneeded = self._unneeded(number) if seen.get(number) == position else 0
            if unneeded > position and number not in self._waiting:
                with suppress(KafkaException):  # it is not fetched yet
                    client.seek(TopicPartition(self.topic.name, number, unneeded))
                    self.positions[number] = unneeded
                    if number in self._misplaced:
                        self._misplaced.remove(number)
                        client.resume([TopicPartition(self.topic.name, number)])
        self._seen = monotonic(), dict(self.positions)

    def _take(self, client: Consumer, messages: Sequence[Message]) -> None:
        """Take what was polled, and what waits once more."""
        if self._waiting and monotonic() - self._retried_at >= _PAUSE:
            self._retry(client)
        records, ends = [], dict[int, Message]()
        for message in self._placed(client, messages):
            fault, number = message.error(), message.partition() or 0
            if number in self._waiting:
                self._waiting[number].append(message)
            elif fault is None:
                records.append(message)
                ends.pop(number, None)
            elif _is_end(fault):
                ends[number] = message
            elif not is_unreadable(message):
                _log.warning("topic not read", topic=self.topic.name, error=fault.str())
        self._store(client, records)
        for number, message in ends.items():
            if number in self._waiting:
                self._waiting[number].append(message)
            else:
                # Behind the last record is the mark of its transaction.
                self.positions[number] = message.offset() or 0
        if messages:
            self._moved()

    def _placed(self, client: Consumer, messages: Sequence[Message]) -> Iterator[Message]:
        """Yield messages, without those of a partition that stands at one claiming an offset that
        is not reached yet.
        """
        for message in messages:
            number, offset = message.partition() or 0, message.offset() or 0
            if number in self._misplaced:
                continue
            place = TopicPartition(self.topic.name, number)
            if message.error() is None and offset >= self._end_beyond(client, place, offset):
                self._misplaced.add(number)
                client.pause([place])
                note_unreadable(self.topic.name, number, self.positions[number])
                continue
            yield message

    def _end_beyond(self, client: Consumer, place: TopicPartition, offset: int) -> int:
        """Return where the partition ends, or ended while it lay beyond ``offset``.

        Raises BrokerError where nobody says: what was fetched is then read again.
        """
        end = self._ends.get(place.partition, 0)
        if offset >= end:
            _, end = client.get_watermark_offsets(place, cached=True)
        if offset >= end:
            # A broker notes the end for its reply before it reads the records: those appended in
            # between lie beyond that end, and claim nothing false.
            with broker_errors(self._connection):
                _, end = client.get_watermark_offsets(place, timeout=_ASKED_WITHIN)
        self._ends[place.partition] = end
        return end

    def _store(self, client: Consumer, records: Sequence[Message]) -> None:
        while records:
            taken = self._table.take(records)
            for one in records[:taken]:
                self.positions[one.partition() or 0] = (one.offset() or 0) + 1
            left = records[taken:]
            if not left:
                return
            # Only its partition waits: the order of the others is their own.
            number = left[0].partition() or 0
            client.pause([TopicPartition(self.topic.name, number)])
            self._waiting[number] = [message for message in left if message.partition() == number]
            self._retried_at = monotonic()
            records = [one for one in left if one.partition() != number]

    def _retry(self, client: Consumer) -> None:
        waiting, self._waiting = self._waiting, {}
        self._retried_at = monotonic()
        for number, messages in waiting.items():
            self._take(client, messages)
            if number not in self._waiting and number not in self._misplaced:
                client.resume([TopicPartition(self.topic.name, number)])


def _is_end(fault: KafkaError) -> bool:
    return fault.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  # its public spelling


def take_each(records: Sequence[Message], take: Callable[[Message], None]) -> int:
    """Have ``take`` take ``records`` until it raises OurError, for the schema of one cannot be
    fetched now; return how many.
    """
    for taken, record in enumerate(records):
        try:
            take(record)
        except OurError as error:
            _log.warning("topic not read", topic=record.topic(), error=str(error))
            return taken
    return len(records)


class TopicTable(Protocol):
    """What the decoded records of a topic are read into: written by one thread, read by any."""

    def put(self, record: AvroRecord) -> None:
        """Add or replace a record; raises ValueError or TypeError where it cannot be used."""

    def remove(self, key: bytes) -> None:
        """Remove the record of ``key``, for which there is a tombstone; raises ValueError."""

    def unreadable(self, key: bytes) -> None:
        """Note that the latest record of ``key`` cannot be read."""


class TopicFollower(RecordFollower):
    """Reads the records of ``topic``, decoded, into ``table``."""

    def __init__(self, connection: Brokers, codec: Codec, topic: Topic, table: TopicTable) -> None:
        super().__init__(connection, topic, self)
        self._codec = codec
        self._decoded = table

    def take(self, records: Sequence[Message]) -> int:
        """Take records until the schema of one cannot be fetched."""
        return take_each(records, self._put)

    def _put(self, record: Message) -> None:
        key, value = record.key() or b"", record.value()
        try:
            if value is None:
                self._decoded.remove(key)
            else:
                self._decoded.put(self._codec.decode(self.topic.record, value))
        except (UndecodableError, ValueError, TypeError, KeyError) as error:
            self._decoded.unreadable(key)
            _log.error(
                "record not readable",
                topic=self.topic.name,
                offset=record.offset(),
                error=str(error),
            )
