"""Compare the topic of permissions with the rows of the ledger, by digest and key by key."""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Message as Record

from izin.runtime.plan import bounds_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.topic_reader import every_record
from izin.sinks.ledger import retailers
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.messages import permitted_row

_PAGE = 1000
_ROW = (4).to_bytes(2, "big")
_SQL = statements("permissions")


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionComparer:
    """Compares every key, and notes those that differ."""

    ledger: Ledger
    kafka: KafkaSettings
    codec: Codec
    clock: Callable[[], datetime]

    async def compare(self, rebuild: str) -> dict[str, str]:
        """Note the keys that differ for ``rebuild``; return the digests of both sides.

        The latest records of the topic are kept in a table of the session, for they need not fit
        into memory.
        """
        async with self.ledger.session() as connection:
            await connection.execute(_SQL["create-topic"])
            await connection.execute(_SQL["forget"])
            await self._read_topic(connection)
            rows = await self._compare_rows(connection, rebuild)
            await connection.execute(_SQL["add-surplus"], {"rebuild": rebuild})
            await connection.execute(_SQL["pass-over"], {"topic": self._topic})
            return {"rows": rows, "topic": await _topic_digest(connection)}

    @property
    def _topic(self) -> str:
        return self.kafka.topics.permissions.name

    async def _read_topic(self, connection: Connection) -> None:
        """Store the latest record of each key, of a partition at a time."""
        latest: dict[bytes, bytes] = {}
        partition: int | None = None
        async for record in self._by_partition():
            if record.partition() != partition:
                await self._store(connection, latest)
                latest, partition = {}, record.partition()
            key, value = record.key() or b"", record.value()
            if value is None:
                latest.pop(key, None)
            else:
                latest[key] = value
        await self._store(connection, latest)

    async def _by_partition(self) -> AsyncIterator[Record]:
        _, topics = bounds_of(self.kafka, {self._topic: True})
        for number in sorted(topics[self._topic].ends):
            async for record in every_record(self.kafka, self._topic, [number]):
                yield record

    async def _store(self, connection: Connection, latest: Mapping[bytes, bytes]) -> None:
        rows = []
        for key, value in latest.items():
            said = self.codec.decode("Permission", value)
            columns = (
                copy_format.text(key),
                copy_format.word(said["customer_id"]),
                copy_format.boolean(said["may_send"]),
                copy_format.text(_digest_of(said)),
            )
            rows.append(_ROW + b"".join(columns))
        await copy(connection, _SQL["copy-topic"], rows)

    async def _compare_rows(self, connection: Connection, rebuild: str) -> str:
        """Note the rows of which the topic says something else; return their digest."""
        digest, after = hashlib.sha256(), ""
        while True:
            values = {"after": after, "size": _PAGE}
            found = await (await connection.execute(_SQL["page"], values)).fetchall()
            if not found:
                return digest.hexdigest()
            rows = [permitted(ConsentRow.from_row(row), self.clock()) for row in found]
            ours = await self._digests(connection, rows)
            keys = [row.key for row in rows]
            theirs = await (await connection.execute(_SQL["of-page"], {"keys": keys})).fetchall()
            published = {row["key"]: row for row in theirs}
            for key, one in ours.items():
                digest.update(key.encode() + one)
            differing = [
                row
                for row in rows
                if row.key not in published or bytes(published[row.key]["digest"]) != ours[row.key]
            ]
            await _note(connection, rebuild, differing, published)
            after = keys[-1]

    async def _digests(
        self, connection: Connection, rows: Sequence[ConsentRow]
    ) -> dict[str, bytes]:
        keys = {row.key for row in rows if row.may_send}
        access = await retailers.registered(connection, keys)
        return {
            row.key: _digest_of(
                {
                    "may_send": row.may_send,
                    "reason": row.permission_reason,
                    "since": row.permission_since,
                    "retailers": _joined(access.get(row.key, ())),
                }
            )
            for row in rows
        }


def permitted(row: ConsentRow, now: datetime) -> ConsentRow:
    """Return ``row`` with the permission that follows from it, as the sinks compute it."""
    return permitted_row(row, row, now) or row


def _digest_of(said: Mapping[str, Any]) -> bytes:
    """Return a digest of what is compared of a permission; instants count in milliseconds."""
    since = said["since"]
    at = None if since is None else copy_format.microseconds(since) // 1000
    parts = (said["may_send"], said["reason"], at, said["retailers"])
    return hashlib.sha256(repr(parts).encode()).digest()


def _joined(codes: Sequence[int] | frozenset[int] | tuple[()]) -> str | None:
    return ",".join(map(str, sorted(codes))) or None


async def _note(
    connection: Connection,
    rebuild: str,
    rows: Sequence[ConsentRow],
    published: Mapping[str, Mapping[str, Any]],
) -> None:
    answers = [published[row.key]["may_send"] if row.key in published else None for row in rows]
    values = {
        "rebuild": rebuild,
        "keys": [row.key for row in rows],
        "kinds": ["missing" if one is None else "differing" for one in answers],
        "customers": [row.customer_id for row in rows],
        "answers": answers,
    }
    await connection.execute(_SQL["add"], values)


async def _topic_digest(connection: Connection) -> str:
    digest, values = hashlib.sha256(), {"after": "", "size": _PAGE}
    while rows := await (await connection.execute(_SQL["topic"], values)).fetchall():
        for row in rows:
            digest.update(row["key"].encode() + bytes(row["digest"]))
        values["after"] = rows[-1]["key"]
    return digest.hexdigest()
