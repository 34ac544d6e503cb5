"""The outbox into Kafka: in the order of its ids, a Kafka transaction a page, out of the ledger
once it is committed.

One process delivers at a time. The transactional id is the installation's, so whoever takes over
fences whoever had it: a process that wakes from a long sleep can write nothing any more, and a
key's records keep their order. A crash between Kafka's commit and the ledger's repeats a page: the
same outcomes under the same ids.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Delivered

from izin.runtime.kafka import producer
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.sinks.ledger.db import notifications
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.notifications import Notifications
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.append import Movement
from izin.sinks.record.errors import StreamUnavailableError

_PAGE = 2000
_TIMEOUT = 15.0
_SQL = statements("outbox")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRelay:
    """Delivers the outbox."""

    ledger: Ledger
    settings: KafkaSettings
    notifications: Notifications
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Deliver until cancelled; one process at a time does."""
        async with self.ledger.sole("deliver"):
            client = await asyncio.to_thread(self._open)
            while True:
                heard = self.notifications.count(notifications.OUTBOX)
                if not await self.deliver(client):
                    await self.notifications.wait(notifications.OUTBOX, heard, self.wait)

    async def open(self) -> Producer:
        """Return a producer that no earlier deliverer can write beside."""
        return await asyncio.to_thread(self._open)

    async def deliver(self, client: Producer) -> bool:
        """Deliver one page; return whether there was any. Raises StreamUnavailableError."""
        rows = await self.ledger.fetch(_SQL["next"], {"size": _PAGE})
        if not rows:
            return False
        places = await asyncio.to_thread(self._write, client, rows)
        now = self.clock()
        async with self.ledger.transaction() as connection:
            ids = {"ids": [row["id"] for row in rows]}
            gone = await (await connection.execute(_SQL["delivered"], ids)).fetchall()
            delivered = {row["id"] for row in gone}
            told = [
                _delivery(row, place, now)
                for row, place in zip(rows, places, strict=True)
                if row["id"] in delivered
            ]
            await append.append(connection, told, now=now)
        return True

    def _open(self) -> Producer:
        client = producer(
            self.settings,
            **{
                "transactional.id": f"{self.settings.topic_prefix}izin-ledger-outbox",
                "transaction.timeout.ms": 10_000,
                "linger.ms": 1,
            },
        )
        try:
            client.init_transactions(_TIMEOUT)
        except KafkaException as error:
            raise StreamUnavailableError(f"outbox: {error.args[0].str()}") from error
        return client

    def _write(self, client: Producer, rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
        places: list[tuple[int, int]] = [(-1, -1)] * len(rows)
        try:
            client.begin_transaction()
            for place, row in enumerate(rows):
                client.produce(
                    row["topic"],
                    key=row["key"].encode(),
                    value=row["value"],
                    headers=dict(row["headers"]),
                    on_delivery=_Placed(places, place),
                )
                client.poll(0)
            client.commit_transaction(_TIMEOUT)
        except (KafkaException, BufferError) as error:
            # The producer is of no use any more: a new one fences it, and the page is delivered
            # again.
            raise StreamUnavailableError(f"outbox: {error}") from error
        if any(partition < 0 for partition, _ in places):
            raise StreamUnavailableError(
                "outbox: a record of a committed page was not acknowledged"
            )
        return places


def _delivery(row: Mapping[str, Any], place: tuple[int, int], now: datetime) -> Movement:
    return Movement(
        kind="delivery",
        customer_id=row["customer_id"],
        key=row["key"],
        event_id=None,
        status=None,
        source=f"outbox/{row['id']}",
        occurred_at=now,
        data={"topic": row["topic"], "partition": place[0], "offset": place[1]},
    )


class _Placed:
    """Notes where a record stands."""

    __slots__ = ("_place", "_places")

    def __init__(self, places: list[tuple[int, int]], place: int) -> None:
        self._places = places
        self._place = place

    def __call__(self, error: KafkaError | None, message: Delivered) -> None:
        if error is None:
            self._places[self._place] = (message.partition() or 0, message.offset() or 0)
