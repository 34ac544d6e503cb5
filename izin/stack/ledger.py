"""The demo's view of the ledger and of the progress of our processes."""

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec

from izin.kafka.bounded_reader import unread
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.streams.ownership import DecidedOffsets

_TIMEOUT = 15.0
_MOST_MARKERS = 10
"""Offsets that may be of aborted records and of the marks of their transactions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """The ledger's record of a key."""

    desired: str
    registered: str
    state: str
    reason: str = ""
    void_event_id: str | None = None
    """The event of an opt-in that İYS never gets, where the opt-out before it is due again."""


class LedgerView:
    """Reads positions and ledger, and changes nothing; a context manager."""

    def __init__(self, url: str, settings: KafkaSettings, codec: Codec) -> None:
        self._settings = settings
        self._ledger = Ledger(
            LedgerSettings.model_validate({"DATABASE_URL": url, "IZIN_DATABASE_POOL_SIZE": 2}),
            owner=secrets.randbelow(2**31 - 1) + 1,
        )
        self._runner = asyncio.Runner()
        self._decided = DecidedOffsets(settings, codec)
        self._admin = kafka.admin(settings)

    def events(self) -> int:
        """Return the number of events on both lanes."""
        return sum(self._ends(self._lanes()).values())

    def behind(self) -> int:
        """Return how many events are not ordered yet, and decisions not in the ledger."""
        topics, lanes = self._settings.topics, self._lanes()
        ordered = self._decided.read()
        ingested = self._runner.run(reads.ingested(self._ledger))
        done = {**ingested, **ordered}  # the ledger stores offsets of the lanes too
        ends = self._ends([*lanes, *self._partitions(topics.decisions.name)])
        count = sum(max(0, end - done.get(place, 0)) for place, end in ends.items())
        if 0 < count <= _MOST_MARKERS:  # what was aborted at the end of a lane has no position
            read = (topics.events, topics.express, topics.decisions)
            count = sum(unread(self._settings, one, done).records for one in read)
        return count

    def lag(self) -> reads.Lag:
        """Return what the sink worker has still to do."""
        return self._runner.run(reads.lag(self._ledger, now=datetime.now(UTC)))

    def keys(self) -> int:
        """Return the number of keys in the ledger."""
        return sum(one.keys for one in self._runner.run(reads.counts(self._ledger)))

    def states(self) -> dict[str, LedgerState]:
        """Return the ledger's record of every key."""
        return self._runner.run(self._states())

    async def _states(self) -> dict[str, LedgerState]:
        return {
            row["key"]: LedgerState(
                desired=row["desired_status"] or "",
                registered=row["registered"],
                state=row["state"],
                reason=row["reason"] or "",
                void_event_id=row["void_event_id"],
            )
            async for row in reads.register(self._ledger)
        }

    def _lanes(self) -> list[TopicPartition]:
        topics = self._settings.topics
        return self._partitions(topics.events.name, topics.express.name)

    def _partitions(self, *topics: str) -> list[TopicPartition]:
        numbers = range(self._settings.partitions)
        return [TopicPartition(topic, number) for topic in topics for number in numbers]

    def _ends(self, partitions: Iterable[TopicPartition]) -> dict[tuple[str, int], int]:
        # One request a broker, not one a partition, for this is polled.
        asked = self._admin.list_offsets(
            dict.fromkeys(partitions, OffsetSpec.latest()),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=_TIMEOUT,
        )
        return {
            (one.topic, one.partition): found.result(_TIMEOUT).offset
            for one, found in asked.items()
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
        self._decided.close()
        self._runner.run(self._ledger.__aexit__(kind, error, trace))
        self._runner.close()
