"""Relay the outbox to Kafka in the order of its ids, one Kafka transaction a page.

Rows are deleted from the ledger once Kafka has committed them. One process relays at a time. The
transactional id is that of the installation, so that a process that takes over fences its
predecessor: one that was paused can write nothing afterwards, and the records of a key keep their
order. A crash between Kafka's commit and the ledger's repeats a page: the same records under the
same ids.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from izin.runtime.kafka import producer
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.records import ID, Headers
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.append import Movement
from izin.sinks.ledger.outbox_reader import OutboxReader
from izin.sinks.record.errors import StreamUnavailableError

_PAGE = 2000
_TIMEOUT = 15.0
_SQL = statements("outbox")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRelay:
    """Publishes the rows of the outbox and deletes them."""

    ledger: Ledger
    settings: KafkaSettings
    notifications: Notifications
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Deliver until cancelled, in one process at a time."""
        async with sole(self.ledger, "deliver") as ledger:
            owner = replace(self, ledger=ledger)
            client, reader = await owner.open(), OutboxReader()
            while True:
                seen = self.notifications.count(notifications.OUTBOX)
                if not await owner.deliver(client, reader):
                    await self.notifications.wait(notifications.OUTBOX, seen, self.wait)

    async def open(self) -> Producer:
        """Return a producer that fences every earlier one."""
        return await asyncio.to_thread(self._open)

    async def deliver(self, client: Producer, reader: OutboxReader) -> bool:
        """Deliver one page; return whether there was one. Raises StreamUnavailableError."""
        async with self.ledger.transaction() as connection:
            rows = await reader.next(connection, _PAGE)
        if not rows:
            return False
        positions = await asyncio.to_thread(self._write, client, rows)
        now = self.clock()
        async with self.ledger.transaction() as connection:
            ids = {"ids": [row["id"] for row in rows]}
            deleted = await (await connection.execute(_SQL["delivered"], ids)).fetchall()
            delivered = {row["id"] for row in deleted}
            movements = [
                _delivery(row, position, now)
                for row, position in zip(rows, positions, strict=True)
                if row["id"] in delivered and row["topic"] not in self._progress
            ]
            await append.append(connection, movements, now=now)
        return True

    @property
    def _progress(self) -> frozenset[str]:
        """The topics that say how far we are, over and over: the history has no use for that."""
        topics = self.settings.topics
        return frozenset({topics.ledger_positions.name, topics.freshness.name})

    def _open(self) -> Producer:
        client = producer(
            self.settings,
            **{
                "transactional.id": f"{self.settings.topic_prefix}izin-ledger-outbox",
                "linger.ms": 1,
            },
        )
        try:
            client.init_transactions(_TIMEOUT)
        except KafkaException as error:
            raise StreamUnavailableError(f"outbox: {error.args[0].str()}") from error
        return client

    def _write(self, client: Producer, rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
        positions: list[tuple[int, int]] = [(-1, -1)] * len(rows)
        try:
            client.begin_transaction()
            for index, row in enumerate(rows):
                client.produce(
                    row["topic"],
                    key=row["key"].encode(),
                    value=row["value"],
                    headers=headers_of(row),
                    on_delivery=_PositionRecorder(positions, index),
                )
                client.poll(0)
            client.commit_transaction(_TIMEOUT)
        except (KafkaException, BufferError) as error:
            # This producer cannot be used again: a new one fences it and repeats the page.
            raise StreamUnavailableError(f"outbox: {error}") from error
        if any(partition < 0 for partition, _ in positions):
            raise StreamUnavailableError(
                "outbox: a record of a committed page was not acknowledged"
            )
        return positions


def headers_of(row: Mapping[str, Any]) -> Headers:
    """Return the Kafka headers of an outbox ``row``.

    Its own number makes the id unique: rows of one instant, or repeated outcomes, share the rest.
    """
    own = {ID: f"{row['headers'][ID]}/{row['id']}"}
    return [(name, value.encode()) for name, value in (row["headers"] | own).items()]


def _delivery(row: Mapping[str, Any], position: tuple[int, int], now: datetime) -> Movement:
    return Movement(
        kind="delivery",
        customer_id=row["customer_id"],
        key=row["key"],
        event_id=None,
        status=None,
        source=f"outbox/{row['id']}",
        occurred_at=now,
        data={"topic": row["topic"], "partition": position[0], "offset": position[1]},
    )


class _PositionRecorder:
    """Records the partition and offset of a record once it is acknowledged."""

    __slots__ = ("_index", "_positions")

    def __init__(self, positions: list[tuple[int, int]], index: int) -> None:
        self._positions = positions
        self._index = index

    def __call__(self, error: KafkaError | None, message: Delivered) -> None:
        if error is None:
            self._positions[self._index] = (message.partition() or 0, message.offset() or 0)
