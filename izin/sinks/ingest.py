"""Decisions into the ledger: rows, history, what is owed, and the offsets, in one transaction.

The offsets lie in the ledger and move by compare-and-set, so a rewind, a second ingester or a
crash between changes nothing. The newest desired by the law's order wins; a stale decision only
notes the latest instants. A decision that cannot be read stops the ingester: ours wrote it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from izin.runtime.kafka import admin, consumer
from izin.runtime.observe import get_logger
from izin.schemas.records import key_from_avro
from izin.sinks import rulings
from izin.sinks.errors import ConcurrentChangeError, StreamUnavailableError
from izin.sinks.ledger import brands, offsets
from izin.sinks.ledger.changes import Changes, Movement, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from confluent_kafka import Consumer, Message

    from izin.runtime.settings import KafkaSettings
    from izin.schemas.codec import Codec
    from izin.sinks.announce import Announcer
    from izin.sinks.ledger.database import Ledger

_BATCH = 500
_YIELD_EVERY = 50
_TIMEOUT = 15.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A decision with its place in the topic."""

    partition: int
    offset: int
    decision: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingester:
    """Reads the topic of decisions into the ledger."""

    ledger: Ledger
    announcer: Announcer
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]
    wait: timedelta

    async def run(self) -> None:
        """Ingest until cancelled; one process at a time does."""
        async with self.ledger.sole("ingest"):
            while True:
                reader = await self.open()
                try:
                    while True:
                        await reader.step(self.wait)
                except ConcurrentChangeError as error:
                    _log.info("read again", why=str(error))
                finally:
                    await reader.close()

    async def open(self) -> Reader:
        """Return a reader at the ledger's offsets; raises StreamUnavailableError,
        RecreatedTopicError.
        """
        topic = self.settings.topics.decisions.name
        cluster_id, topic_id, partitions = await asyncio.to_thread(self._identity, topic)
        positions = await offsets.positions(
            self.ledger, topic, partitions, cluster_id=cluster_id, topic_id=topic_id
        )
        client = consumer(
            self.settings,
            "izin-ledger",
            **{
                "allow.auto.create.topics": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            },
        )
        client.assign(
            [TopicPartition(topic, number, position) for number, position in positions.items()]
        )
        return Reader(self, client, topic=topic, topic_id=topic_id, positions=positions)

    async def keep(
        self, topic: str, topic_id: str, reads: Sequence[Read], moves: Mapping[int, tuple[int, int]]
    ) -> None:
        """Write what was read, and that it was; raises ConcurrentChangeError if another did."""
        now = self.clock()
        keys = [str(key_from_avro(read.decision["consent"])) for read in reads]
        async with self.ledger.transaction() as connection:
            await offsets.advance(connection, topic, topic_id, moves)
            entries = await lock(connection, keys)
            codes = {read.decision["consent"]["brand_code"] for read in reads}
            known = await brands.of_codes(connection, codes)
            changes = Changes(self.announcer, now=now)
            last = {key: place for place, key in enumerate(keys)}
            for place, (key, read) in enumerate(zip(keys, reads, strict=True)):
                before = entries.get(key)
                entry = rulings.decided(before, read.decision, now)
                if last[key] == place:
                    brand = known.get(entry.brand_code)
                    ruled = rulings.ruled(entry, brand, now, calendar=self.ledger.calendar)
                    entries[key] = changes.rule(before, ruled)
                else:
                    entries[key] = changes.put(before, entry)
                changes.note(_movement(key, read.decision))
                if place % _YIELD_EVERY == _YIELD_EVERY - 1:
                    # Pushes share this loop and must not wait for a whole batch.
                    await asyncio.sleep(0)
            await changes.write(connection)

    def _identity(self, topic: str) -> tuple[str, str, tuple[int, ...]]:
        client = admin(self.settings)
        try:
            cluster = client.list_topics(topic, timeout=_TIMEOUT)
            described = client.describe_topics(TopicCollection([topic]))
            description = described[topic].result(_TIMEOUT)
        except KafkaException as error:
            raise StreamUnavailableError(f"{topic}: {error.args[0].str()}") from error
        partitions = tuple(cluster.topics[topic].partitions)
        return str(cluster.cluster_id), str(description.topic_id), partitions


class Reader:
    """The topic from the ledger's offsets on."""

    def __init__(
        self,
        ingester: Ingester,
        client: Consumer,
        *,
        topic: str,
        topic_id: str,
        positions: Mapping[int, int],
    ) -> None:
        self._ingester = ingester
        self._client = client
        self._topic = topic
        self._topic_id = topic_id
        self._positions = dict(positions)

    async def step(self, wait: timedelta) -> int:
        """Ingest what has come, waiting no longer than ``wait``; return how many decisions."""
        messages = await asyncio.to_thread(self._poll, wait.total_seconds())
        if not messages:
            return 0
        reads = []
        for message in messages:
            value = message.value()
            if value is not None and message.error() is None:
                reads.append(
                    Read(
                        partition=message.partition() or 0,
                        offset=message.offset() or 0,
                        decision=self._ingester.codec.decode("Decision", value),
                    )
                )
            if len(reads) % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        moves = self._moves(messages)
        if not moves:
            return 0
        await self._ingester.keep(self._topic, self._topic_id, reads, moves)
        self._positions.update({number: after for number, (_, after) in moves.items()})
        return len(reads)

    def _moves(self, messages: Sequence[Message]) -> dict[int, tuple[int, int]]:
        """Return from where to where each partition was read.

        The end of a partition lies behind the marker of its last transaction, which no message
        has: to have reached it is progress too, or the lag would never be nothing.
        """
        nexts: dict[int, int] = {}
        for message in messages:
            number, offset = message.partition() or 0, message.offset() or 0
            nexts[number] = offset if message.error() is not None else offset + 1
        return {
            number: (self._positions[number], after)
            for number, after in nexts.items()
            if after > self._positions[number]
        }

    async def close(self) -> None:
        """Close the consumer."""
        await asyncio.to_thread(self._client.close)

    def _poll(self, wait: float) -> list[Message]:
        """Return what has come as soon as anything has, and what came with it."""
        try:
            first = self._client.consume(1, wait)
            messages = first + self._client.consume(_BATCH - 1, 0) if first else []
        except KafkaException as error:
            raise StreamUnavailableError(f"{self._topic}: {error.args[0].str()}") from error
        for message in messages:
            problem = message.error()
            ended = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's name for it
            if problem is not None and problem.code() != ended:
                raise StreamUnavailableError(f"{self._topic}: {problem.str()}")
        return messages


def _movement(key: str, decision: Mapping[str, Any]) -> Movement:
    event = decision["event"]
    place = f"{decision['topic']}/{decision['partition']}/{decision['offset']}"
    return Movement(
        kind="decision",
        customer_id=event["customer_id"],
        key=key,
        event_id=event["event_id"],
        status=event["status"],
        source=f"{place}/{event['event_id']}",
        occurred_at=decision["effective_at"],
        data={
            "kind": decision["kind"],
            "reason": decision["reason"],
            "opted_out": decision["opted_out"],
            "violations": decision["violations"],
            "stands": decision["consent"]["status"],
            "law_version": decision["consent"]["law_version"],
            "event": {name: value for name, value in event.items() if value not in (None, {}, "")},
        },
    )
