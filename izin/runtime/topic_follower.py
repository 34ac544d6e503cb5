"""A compacted topic followed into memory: read to its end, and from then on continuously.

Reading is not enough to know that nothing is missing: a process that Kafka no longer reaches reads
nothing, and notices nothing. So the end of the topic is asked for every second, and
:meth:`TopicFollower.age` says for how long nobody has seen the table complete. It is counted from
before the question, by a clock that goes on while the process is frozen. A topic that grows all the
time is complete once it was read up to where it ended when that was asked.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.consent.errors import OurError
from izin.runtime.broker_faults import broker_errors
from izin.runtime.errors import BrokerError
from izin.runtime.kafka_clients import KafkaConnection, admin, consumer
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic

_TIMEOUT = 15.0
"""Seconds in which something must be read, before the topic counts as unreadable."""
_POLL = 0.1
_ASKED_EVERY = 1.0
_ASKED_WITHIN = 1.0
_LOOKED_EVERY = 0.05
_FRESH = 5.0
"""Seconds for which the table may not have been seen complete where reading it is done."""
_PAUSE = 1.0
_OPTIONS = {
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    # What librdkafka may fetch ahead, and of each partition at a time: compressed records grow
    # tenfold, and a topic is read no faster with more.
    "queued.max.messages.kbytes": 8 * 1024,
    "fetch.message.max.bytes": 64 * 1024,
}
_RECONNECT = {"reconnect.backoff.max.ms": 1000}
"""The table is stale until it is connected again."""

_log = PlainLogger(__name__)


class TopicTable(Protocol):
    """What a topic is read into: written by one thread, read by any."""

    def put(self, record: AvroRecord) -> None:
        """Add or replace a record; raises ValueError or TypeError where it cannot be used."""

    def remove(self, key: bytes) -> None:
        """Remove the record of ``key``, for which there is a tombstone; raises ValueError."""

    def unreadable(self, key: bytes) -> None:
        """Note that the latest record of ``key`` cannot be read."""


class TopicFollower:
    """Reads ``topic`` into ``table``."""

    def __init__(
        self, connection: KafkaConnection, codec: Codec, topic: Topic, table: TopicTable
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._topic = topic
        self._table = table
        self._positions: dict[int, int] = {}
        self._complete_at: float | None = None
        self._stopped = threading.Event()

    def age(self) -> float | None:
        """Return for how many seconds the table was not seen complete; None: it never was."""
        seen_at = self._complete_at
        return None if seen_at is None else monotonic() - seen_at

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
    def follow(self, *, complete: bool = True) -> Iterator[None]:
        """Keep the table up to date until the context ends; from the start, it is ``complete``.

        Raises:
            BrokerError: the topic does not exist, or cannot be read.
        """
        with self._reading() as (client, end):
            if complete:
                self._read_to_end(client, end)
            thread = threading.Thread(
                target=self._follow, args=(client, end), name=self._topic.name, daemon=True
            )
            thread.start()
            try:
                yield
            finally:
                self._stopped.set()
                thread.join()
                self._stopped.clear()

    @contextmanager
    def _reading(self) -> Iterator[tuple[Consumer, "_TopicEnd"]]:
        name = self._topic.name
        client = consumer(self._connection, f"izin-{name}", **_OPTIONS, **_RECONNECT)
        try:
            with broker_errors(self._connection):
                found = client.list_topics(name, timeout=_TIMEOUT).topics[name]
            if found.error is not None:
                raise BrokerError(
                    f"topic {name} does not exist; run: izin up, or izin doctor --fix"
                )
            self._positions = dict.fromkeys(found.partitions, 0)
            client.assign([TopicPartition(name, one, OFFSET_BEGINNING) for one in found.partitions])
            asking = admin(self._connection, **_RECONNECT)
            yield client, _TopicEnd(asking, name, found.partitions)
        finally:
            client.close()

    def _read_to_end(self, client: Consumer, end: "_TopicEnd") -> None:
        read_at = monotonic()
        self._complete_at = None
        # A snapshot may take longer than the table may be old: what came meanwhile is read too.
        while not self._is_fresh() and not self._stopped.is_set():
            message = client.poll(_POLL)
            if message is not None:
                fault = message.error()
                if fault is not None and not _is_end(fault) and not fault.retriable():
                    with broker_errors(self._connection):
                        raise KafkaException(fault)
                if self._take(message):
                    read_at = monotonic()
            self._look(end)
            if monotonic() - read_at > _TIMEOUT:
                raise BrokerError(
                    f"topic {self._topic.name} could not be read within {_TIMEOUT:.0f} s"
                )

    def _is_fresh(self) -> bool:
        age = self.age()
        return age is not None and age < _FRESH

    def _follow(self, client: Consumer, end: "_TopicEnd") -> None:
        while not self._stopped.is_set():
            message = client.poll(_POLL)
            if message is not None:
                while not self._take(message) and not self._stopped.wait(_PAUSE):
                    pass
            self._look(end)

    def _look(self, end: "_TopicEnd") -> None:
        complete_at = end.reached(self._positions)
        if complete_at is not None:
            self._complete_at = complete_at

    def _take(self, message: Message) -> bool:
        """Take what was polled; False where the schema of a record cannot be fetched now."""
        fault, number = message.error(), message.partition() or 0
        if fault is None:
            if not self._is_stored(message):
                return False
            self._positions[number] = (message.offset() or 0) + 1
        elif _is_end(fault):
            # Behind the last record is the mark of its transaction.
            self._positions[number] = message.offset() or 0
        else:
            _log.warning("topic not read", topic=self._topic.name, error=fault.str())
        return True

    def _is_stored(self, message: Message) -> bool:
        key, value = message.key() or b"", message.value()
        try:
            if value is None:
                self._table.remove(key)
            else:
                self._table.put(self._codec.decode(self._topic.record, value))
        except (UndecodableError, ValueError, TypeError, KeyError) as error:
            self._table.unreadable(key)
            _log.error(
                "record not readable",
                topic=self._topic.name,
                offset=message.offset(),
                error=str(error),
            )
        except OurError as error:
            _log.warning("topic not read", topic=self._topic.name, error=str(error))
            return False
        return True


def _is_end(fault: KafkaError) -> bool:
    return fault.code() == KafkaError._PARTITION_EOF  # noqa: SLF001  # its public spelling


def _offset(answer: Future[Any]) -> int:
    """Return the offset that was answered, a negative one where none was.

    librdkafka says so either by an error or, where a request timed out, by such an offset.
    """
    return OFFSET_INVALID if answer.exception() else int(answer.result().offset)


class _TopicEnd:
    """Asks every second where the topic ends, and says since when all before that was read."""

    def __init__(self, client: AdminClient, topic: str, partitions: Iterable[int]) -> None:
        self._client = client
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._asked_at = self._looked_at = float("-inf")
        self._answers: Mapping[TopicPartition, Future[Any]] = {}
        self._unread: dict[int, int] = {}
        """By partition: the end that was not reached yet."""

    def reached(self, positions: Mapping[int, int]) -> float | None:
        """Return when the end was asked for that the ``positions`` have reached; None: not yet."""
        now = monotonic()
        if now - self._looked_at < _LOOKED_EVERY:
            return None
        self._looked_at = now
        if self._unread:
            return self._reach(positions)
        if self._answers:
            if not all(one.done() for one in self._answers.values()):
                return None
            answers, self._answers = self._answers, {}
            ends = {one.partition: _offset(found) for one, found in answers.items()}
            if min(ends.values()) < 0:
                self._forget_leaders()
                return None  # the age says for how long
            self._unread = ends
            return self._reach(positions)
        if now - self._asked_at >= _ASKED_EVERY:
            self._client.poll(0)  # hands over its log, which grows until then
            self._asked_at = now
            self._answers = self._client.list_offsets(
                {one: OffsetSpec.latest() for one in self._partitions},
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=_ASKED_WITHIN,
            )
        return None

    def _forget_leaders(self) -> None:
        """Have the leaders looked up again: librdkafka would ask the former ones for ever."""
        with suppress(KafkaException):
            self._client.list_topics(self._partitions[0].topic, timeout=_ASKED_WITHIN)

    def _reach(self, positions: Mapping[int, int]) -> float | None:
        self._unread = {
            number: end for number, end in self._unread.items() if positions[number] < end
        }
        return None if self._unread else self._asked_at
