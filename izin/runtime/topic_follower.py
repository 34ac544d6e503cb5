"""A compacted topic followed into memory: read to its end, and from then on continuously.

Reading is not enough to know that nothing is missing: a process that Kafka no longer reaches reads
nothing, and notices nothing. So the end of the topic is asked for every second, and
:meth:`TopicFollower.age` says for how long nobody has seen the table complete. It is counted from
before the question, by a clock that goes on while the process is frozen.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from izin.consent.errors import OurError
from izin.runtime.broker_faults import broker_errors
from izin.runtime.errors import BrokerError
from izin.runtime.kafka_clients import KafkaConnection, consumer
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic

_TIMEOUT = 15.0
"""Seconds in which something must be read, before the topic counts as unreadable."""
_POLL = 0.2
_ASKED_EVERY = 1.0
_ASKED_WITHIN = 1.0
_PAUSE = 1.0

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
        self._asked_at = 0.0
        self._complete_at: float | None = None

    def age(self) -> float | None:
        """Return for how many seconds the table was not seen complete; None: it never was."""
        seen_at = self._complete_at
        return None if seen_at is None else monotonic() - seen_at

    def load(self) -> None:
        """Read the topic to its end.

        Raises:
            BrokerError: the topic cannot be read.
        """
        with self._reading() as client:
            self._read_to_end(client)

    @contextmanager
    def follow(self, *, complete: bool = True) -> Iterator[None]:
        """Keep the table up to date until the context ends; from the start, it is ``complete``.

        Raises:
            BrokerError: the topic does not exist, or cannot be read.
        """
        with self._reading() as client:
            if complete:
                self._read_to_end(client)
            stopped = threading.Event()
            thread = threading.Thread(
                target=self._follow, args=(client, stopped), name=self._topic.name, daemon=True
            )
            thread.start()
            try:
                yield
            finally:
                stopped.set()
                thread.join()

    @contextmanager
    def _reading(self) -> Iterator[Consumer]:
        name = self._topic.name
        client = consumer(
            self._connection,
            f"izin-{name}",
            **{"enable.partition.eof": True, "allow.auto.create.topics": False},
        )
        try:
            with broker_errors(self._connection):
                found = client.list_topics(name, timeout=_TIMEOUT).topics[name]
            if found.error is not None:
                raise BrokerError(
                    f"topic {name} does not exist; run: izin up, or izin doctor --fix"
                )
            self._positions = dict.fromkeys(found.partitions, 0)
            client.assign([TopicPartition(name, one, OFFSET_BEGINNING) for one in found.partitions])
            yield client
        finally:
            client.close()

    def _read_to_end(self, client: Consumer) -> None:
        read_at = monotonic()
        while not self._is_complete(client):
            message = client.poll(_POLL)
            if message is not None:
                fault = message.error()
                if fault is not None and not _is_end(fault) and not fault.retriable():
                    with broker_errors(self._connection):
                        raise KafkaException(fault)
                if self._take(message):
                    read_at = monotonic()
            if monotonic() - read_at > _TIMEOUT:
                raise BrokerError(
                    f"topic {self._topic.name} could not be read within {_TIMEOUT:.0f} s"
                )

    def _follow(self, client: Consumer, stopped: threading.Event) -> None:
        while not stopped.is_set():
            message = client.poll(_POLL)
            if message is not None:
                while not self._take(message) and not stopped.wait(_PAUSE):
                    pass
            self._is_complete(client)

    def _is_complete(self, client: Consumer) -> bool:
        """Ask where the topic ends, if it is time; return whether all before that was read."""
        now = monotonic()
        if now - self._asked_at < _ASKED_EVERY:
            return False
        self._asked_at = now
        try:
            for number, position in self._positions.items():
                place = TopicPartition(self._topic.name, number)
                _, end = client.get_watermark_offsets(place, timeout=_ASKED_WITHIN)
                if position < end:
                    return False
        except KafkaException:  # out of reach: the age says for how long
            return False
        self._complete_at = now
        return True

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
            self._asked_at = 0.0
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
