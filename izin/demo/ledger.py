"""How far everything has come, and what the ledger holds: the demo's own eyes."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec

from izin.demo.compare import Kept
from izin.runtime import kafka
from izin.runtime.settings import LedgerSettings, StreamSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.streams.engine.app import group_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from izin.runtime.settings import KafkaSettings

_TIMEOUT = 15.0


class LedgerView:
    """Looks at the consumer groups and the ledger, and changes nothing; a context manager."""

    def __init__(self, url: str, settings: KafkaSettings) -> None:
        self._settings = settings
        self._ledger = Ledger(
            LedgerSettings.model_validate({"DATABASE_URL": url, "IZIN_DATABASE_POOL_SIZE": 2}),
            owner=secrets.randbelow(2**31 - 1) + 1,
        )
        self._runner = asyncio.Runner()
        # Never subscribes: it reads the order workers' committed offsets.
        self._offsets = kafka.consumer(settings, group_of(settings, StreamSettings()))
        self._admin = kafka.admin(settings)

    def events(self) -> int:
        """Return how many events stand on both lanes."""
        topics = self._settings.topics
        return sum(self._ends(self._of(topics.events.name, topics.express.name)).values())

    def behind(self) -> int:
        """Return how many events are not ordered yet, and decisions not in the ledger."""
        topics = self._settings.topics
        lanes = self._of(topics.events.name, topics.express.name)
        ordered = {
            (one.topic, one.partition): max(one.offset, 0)
            for one in self._offsets.committed(lanes, _TIMEOUT)
        }
        decisions = self._of(topics.decisions.name)
        ingested = self._runner.run(reads.ingested(self._ledger))
        done = {**ingested, **ordered}  # the ledger follows the lanes too
        ends = self._ends([*lanes, *decisions])
        return sum(max(0, end - done.get(place, 0)) for place, end in ends.items())

    def lag(self) -> reads.Lag:
        """Return what the sink has still to do."""
        return self._runner.run(reads.lag(self._ledger, now=datetime.now(UTC)))

    def keys(self) -> int:
        """Return how many keys the ledger holds."""
        return sum(one.keys for one in self._runner.run(reads.counts(self._ledger)))

    def kept(self) -> dict[str, Kept]:
        """Return what the ledger says of every key."""
        return self._runner.run(self._kept())

    async def _kept(self) -> dict[str, Kept]:
        return {
            row.key: Kept(
                desired=row.desired_status or "",
                registered=row.registered,
                state=row.state,
                why=row.why or "",
            )
            async for row in reads.register(self._ledger)
        }

    def _of(self, *topics: str) -> list[TopicPartition]:
        partitions = range(self._settings.partitions)
        return [TopicPartition(topic, number) for topic in topics for number in partitions]

    def _ends(self, places: Iterable[TopicPartition]) -> dict[tuple[str, int], int]:
        # In one request a broker, not one a partition: whoever waits looks often.
        asked = self._admin.list_offsets(
            dict.fromkeys(places, OffsetSpec.latest()),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=_TIMEOUT,
        )
        return {
            (place.topic, place.partition): found.result(_TIMEOUT).offset
            for place, found in asked.items()
        }

    def __enter__(self) -> Self:
        self._runner.run(self._ledger.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._offsets.close()
        self._runner.run(self._ledger.__aexit__(kind, error, trace))
        self._runner.close()
