"""Write to the topics: what a loop has, at once, and what the ledger has in its outbox.

A loop returns when the broker has acknowledged its messages. They do not linger, for a citizen's
opt-out may be among them. A thread polls librdkafka without a pause, so that acknowledgements are
not delayed.

The outbox is relayed in the order of its ids, one Kafka transaction a page. Rows are deleted from
the ledger once Kafka has committed them. One process relays at a time. The transactional id is that
of the installation, so that a process that takes over fences its predecessor: one that was paused
can write nothing afterwards, and the records of a key keep their order. A crash between Kafka's
commit and the ledger's repeats a page: the same records under the same ids.

Delivered rows are deleted, but while another session has a snapshot from before that, their index
entries stay, and a read that starts at the first id visits all of them again. Reads start at a
floor instead. Ids are taken in order and committed in any order, so the floor rises only below ids
whose transactions have all ended.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message as Delivered, Producer
from psycopg.rows import DictRow

from izin.kafka.clients import producer
from izin.ledger.db import (
    Connection,
    Ledger,
    Notifications,
    exclusive,
    fetch,
    notifications,
    statements,
)
from izin.ledger.history import HistoryEntry, append
from izin.ledger.record import Message, StreamUnavailableError
from izin.runtime.settings import KafkaSettings
from izin.schemas.records import ID, Headers

_POLL = 0.5
_TIMEOUT_MS = 15_000
_FLUSH = 3.0
_PAGE = 2000
_TIMEOUT = 15.0
_SQL = statements("outbox")


class Publisher:
    """An idempotent producer with awaitable acknowledgements. An async context manager."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = producer(
            settings, **{"linger.ms": 0, "message.timeout.ms": _TIMEOUT_MS, "acks": "all"}
        )
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="sink-publisher", daemon=True)

    async def __aenter__(self) -> Self:
        self._poller.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._producer.flush, _FLUSH)
        self._closed.set()
        await asyncio.to_thread(self._poller.join)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Return once the broker has every one of ``messages``; raises StreamUnavailableError.

        Messages acknowledged before a failure stay published: publish all again, for duplicates
        have no effect.
        """
        loop = asyncio.get_running_loop()
        waiting = []
        for message in messages:
            done: asyncio.Future[None] = loop.create_future()
            waiting.append(done)
            try:
                self._producer.produce(
                    message.topic,
                    key=message.key.encode(),
                    value=message.value,
                    headers=dict(message.headers),
                    on_delivery=partial(_acknowledged, loop, done),
                )
            except (BufferError, KafkaException) as error:
                raise StreamUnavailableError(
                    f"Kafka takes no more ({type(error).__name__})"
                ) from error
        for problem in await asyncio.gather(*waiting, return_exceptions=True):
            if problem is not None:
                raise problem

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(_POLL)


def _acknowledged(
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[None],
    error: KafkaError | None,
    _message: Delivered,
) -> None:
    """Resolve ``done`` of ``loop`` from librdkafka's thread."""
    loop.call_soon_threadsafe(_resolve, done, error)


def _resolve(done: asyncio.Future[None], error: KafkaError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(StreamUnavailableError(f"not acknowledged: {error.str()}"))


@dataclass(slots=True, kw_only=True)
class OutboxReader:
    """Reads pages of the outbox, the lowest ids first; for one process that delivers them.

    The floor is kept in memory: it ends with the process, and is not believed of another server.
    """

    floor: int = 0
    """No id up to here will be read again: its row was delivered, or will never exist."""
    server: datetime | None = None
    """When the server started whose ids these are. A standby that takes over may have lost the last
    ids, and hands them out again.
    """
    _mark: tuple[int, int] | None = None
    """An id, and a transaction that is younger than those that took the ids up to it."""

    async def next(self, connection: Connection, size: int) -> list[DictRow]:
        """Return up to ``size`` rows that are not delivered yet, in the order of their ids."""
        # Before the page: what has ended by now, the page shows.
        values = {"after": self.floor if self._mark is None else self._mark[0]}
        (horizon,) = await fetch(connection, _SQL["horizon"], values)
        if horizon["server"] != self.server:
            self.floor, self.server, self._mark = 0, horizon["server"], None
        rows = await fetch(connection, _SQL["next"], {"floor": self.floor, "size": size})
        if self._mark is not None and self._mark[1] <= horizon["oldest"]:
            self.floor = min([self._mark[0], *(row["id"] - 1 for row in rows[:1])])
            self._mark = None
        if self._mark is None and horizon["transaction"] is not None:
            self._mark = (horizon["last_id"], horizon["transaction"])
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRelay:
    """Publishes the rows of the outbox and deletes them."""

    ledger: Ledger
    settings: KafkaSettings
    notifications: Notifications
    clock: Callable[[], datetime]
    wait: timedelta
    ready: Callable[[], Awaitable[None]] | None = None
    """Returns once the ledger may publish what it has; None: at once."""

    async def run(self) -> None:
        """Deliver until cancelled, in one process at a time."""
        async with exclusive(self.ledger, "deliver") as ledger:
            if self.ready is not None:
                await self.ready()
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
        """Deliver one page; return whether it was full. Of what comes behind one that was not there
        is a notification. Raises StreamUnavailableError.
        """
        async with self.ledger.transaction() as connection:
            rows = await reader.next(connection, _PAGE)
        if not rows:
            return False
        positions = await asyncio.to_thread(self._write, client, rows)
        now = self.clock()
        async with self.ledger.transaction() as connection:
            ids = {"ids": [row["id"] for row in rows]}
            delivered = {row["id"] for row in await fetch(connection, _SQL["delivered"], ids)}
            entries = [
                _delivery(row, position, now)
                for row, position in zip(rows, positions, strict=True)
                if row["id"] in delivered and row["topic"] not in self._progress
            ]
            await append.append(connection, entries, now=now)
        return len(rows) == _PAGE

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
                    on_delivery=partial(_note, positions, index),
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


def _delivery(row: Mapping[str, Any], position: tuple[int, int], now: datetime) -> HistoryEntry:
    return HistoryEntry(
        kind="delivery",
        customer_id=row["customer_id"],
        key=row["key"],
        source=f"outbox/{row['id']}",
        occurred_at=now,
        data={"topic": row["topic"], "partition": position[0], "offset": position[1]},
    )


def _note(
    positions: list[tuple[int, int]], index: int, error: KafkaError | None, message: Delivered
) -> None:
    """Note the partition and offset of a record once it is acknowledged."""
    if error is None:
        positions[index] = (message.partition() or 0, message.offset() or 0)
