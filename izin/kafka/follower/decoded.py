"""A topic followed into a table of decoded records.

A record that cannot be read is noted under its key; one whose schema cannot be fetched now waits.
"""

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import Message

from izin.consent.errors import OurError
from izin.kafka.follower.follower import RecordFollower
from izin.runtime.kafka_clients import KafkaConnection
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.records import AvroRecord
from izin.schemas.topics import Topic

_log = PlainLogger(__name__)


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

    def __init__(
        self, connection: KafkaConnection, codec: Codec, topic: Topic, table: TopicTable
    ) -> None:
        super().__init__(connection, topic, _Decoding(codec, topic, table))


class _Decoding:
    """Decodes the records of ``topic`` for ``table``."""

    def __init__(self, codec: Codec, topic: Topic, table: TopicTable) -> None:
        self._codec = codec
        self._topic = topic
        self._table = table

    def take(self, records: Sequence[Message]) -> int:
        """Take records until the schema of one cannot be fetched."""
        for taken, record in enumerate(records):
            try:
                self._put(record)
            except OurError as error:
                _log.warning("topic not read", topic=self._topic.name, error=str(error))
                return taken
        return len(records)

    def _put(self, record: Message) -> None:
        key, value = record.key() or b"", record.value()
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
                offset=record.offset(),
                error=str(error),
            )
