"""What the topics have of a brand's keys, in temporary tables of one session.

Topics are read partition by partition, not in the order of keys, and need not fit into memory. So
their records go into tables by COPY, a chunk at a time, and PostgreSQL joins them with the rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from confluent_kafka import Message as Record

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.topic_reader import every_record
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, copy
from izin.sinks.ledger.db.queries import statements

_CHUNK = 10_000
"""Records that are in memory at once: of a key among them only the latest."""
_DESIRED_COLUMNS = (8).to_bytes(2, "big")
_PERMISSION_COLUMNS = (6).to_bytes(2, "big")
_SQL = statements("reconcile")

Encode = Callable[[bytes, Record], bytes]
"""Returns the row of a record with this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicTables:
    """Fills the tables of a session."""

    kafka: KafkaSettings
    codec: Codec
    on_read: Callable[[int], None] = lambda _: None
    """Called with how many records were read so far."""

    async def fill(self, connection: Connection, brand_code: int) -> None:
        """Read both topics to their ends.

        Raises:
            StreamUnavailableError: Kafka cannot be read.
        """
        topics, start = self.kafka.topics, f"{brand_code}/".encode()
        for name in ("create-desired", "create-permissions"):
            await connection.execute(_SQL[name])
        read = await self._fill(
            connection, topics.desired_consents.name, start, "copy-desired", self._desired, 0
        )
        await self._fill(
            connection, topics.permissions.name, start, "copy-permissions", self._permission, read
        )
        for name in ("forget-older-desired", "forget-older-permissions", "analyze-topics"):
            await connection.execute(_SQL[name])

    async def _fill(  # noqa: PLR0913, PLR0917  # a topic, its table, and how a record becomes a row
        self,
        connection: Connection,
        topic: str,
        start: bytes,
        statement: str,
        encode: Encode,
        read: int,
    ) -> int:
        latest: dict[bytes, Record] = {}
        async for record in every_record(self.kafka, topic):
            key = record.key() or b""
            if key.startswith(start):
                latest[key] = record
            read += 1
            if len(latest) == _CHUNK:
                await _write(connection, _SQL[statement], latest, encode)
                latest = {}
                self.on_read(read)
        await _write(connection, _SQL[statement], latest, encode)
        self.on_read(read)
        return read

    def _desired(self, key: bytes, record: Record) -> bytes:
        value = record.value()
        columns = [
            copy_format.text(key),
            copy_format.integer(record.partition() or 0),
            copy_format.long(record.offset() or 0),
        ]
        if value is None:
            columns += [copy_format.NULL] * 5
        else:
            consent = self.codec.decode("Consent", value)
            columns += [
                copy_format.word(consent["status"]),
                copy_format.moment(consent["effective_at"]),
                copy_format.integer(consent["origin_rank"]),
                copy_format.word(consent["event_id"]),
                copy_format.text(value),
            ]
        return _DESIRED_COLUMNS + b"".join(columns)

    def _permission(self, key: bytes, record: Record) -> bytes:
        value = record.value()
        columns = [copy_format.text(key), copy_format.long(record.offset() or 0)]
        if value is None:
            columns += [copy_format.NULL] * 4
        else:
            permission = self.codec.decode("Permission", value)
            since: datetime | None = permission["since"]
            columns += [
                copy_format.word(permission["customer_id"]),
                copy_format.boolean(permission["may_send"]),
                copy_format.word(permission["reason"]),
                copy_format.moment(since),
            ]
        return _PERMISSION_COLUMNS + b"".join(columns)


async def _write(
    connection: Connection,
    statement: LiteralString,
    latest: Mapping[bytes, Record],
    encode: Encode,
) -> None:
    if latest:
        rows = (encode(key, record) for key, record in latest.items())
        await copy(connection, statement, [b"".join(rows)])
