"""What topics have of each key, in temporary tables of one session.

Topics are read partition by partition, not in the order of keys, and need not fit into memory. So
their records go into tables by COPY, a chunk at a time, and PostgreSQL joins them with the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Message as Record

from izin.ledger.db import Connection, copy, copy_format, statements
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.ingested_topics import every_record

_CHUNK = 10_000
"""Records that are in memory at once: of a key among them only the latest."""
_SQL = statements("topic_tables")

_Encode = Callable[[bytes, Record], list[bytes]]
"""Returns the columns of a record with this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTables:
    """Fills the tables of a session. Every method may raise StreamUnavailableError: Kafka cannot be
    read.
    """

    kafka: KafkaSettings
    codec: Codec
    connection: Connection
    prefix: bytes = b""
    """Of the keys; those of other records are left out."""
    on_read: Callable[[int], None] = lambda _: None
    """Called with how many records of topics were read so far."""

    async def fill(self) -> None:
        """Read the topic of desired consents to its end into ``topic_desired``, then that of
        permissions into ``topic_permissions``.
        """
        topics = self.kafka.topics
        read = await self._fill("desired", topics.desired_consents.name, self._desired)
        await self._fill("permissions", topics.permissions.name, self._permission, read)

    async def _fill(self, name: str, topic: str, encode: _Encode, read: int = 0) -> int:
        await self.connection.execute(_SQL[f"create-{name}"])
        latest: dict[bytes, Record] = {}
        async for record in every_record(self.kafka, topic):
            key = record.key() or b""
            read += 1
            if key.startswith(self.prefix):
                latest[key] = record
            if len(latest) == _CHUNK:
                await self._write(name, latest, encode)
                self.on_read(read)
        await self._write(name, latest, encode)
        self.on_read(read)
        for statement in (f"forget-older-{name}", f"analyze-{name}"):
            await self.connection.execute(_SQL[statement])
        return read

    async def _write(self, name: str, latest: dict[bytes, Record], encode: _Encode) -> None:
        rows = [encode(key, record) for key, record in latest.items()]
        latest.clear()
        await copy(
            self.connection,
            _SQL[f"copy-{name}"],
            [b"".join((len(row).to_bytes(2, "big"), *row)) for row in rows],
        )

    def _desired(self, key: bytes, record: Record) -> list[bytes]:
        value = record.value()
        place = [
            copy_format.text(key),
            copy_format.integer(record.partition() or 0),
            copy_format.long(record.offset() or 0),
        ]
        if value is None:
            return place + [copy_format.NULL] * 5
        consent = self.codec.decode("Consent", value)
        return [
            *place,
            copy_format.word(consent["status"]),
            copy_format.moment(consent["effective_at"]),
            copy_format.integer(consent["origin_rank"]),
            copy_format.word(consent["event_id"]),
            copy_format.text(value),
        ]

    def _permission(self, key: bytes, record: Record) -> list[bytes]:
        value = record.value()
        place = [copy_format.text(key), copy_format.long(record.offset() or 0)]
        if value is None:
            return place + [copy_format.NULL] * 5
        permission = self.codec.decode("Permission", value)
        return [
            *place,
            copy_format.word(permission["customer_id"]),
            copy_format.boolean(permission["may_send"]),
            copy_format.word(permission["reason"]),
            copy_format.moment(permission["since"]),
            copy_format.word(permission["retailers"]),
        ]
