"""Whether what a consistency token names can be read in a feed, and up to where it must be read.

An event at an offset of an input topic is decided once ``order-positions`` of its partition number
is beyond that offset. What follows from it is then written on the same partition number: the opt-
out, and the decision. The ledger has taken the decision once ``ledger-positions`` is beyond the end
that ``consent-decisions`` has by then; the permission and the outcome are then written too.

Both are written to topics, in the transactions of what is decided or taken: ``order-positions``,
with a record for each partition, and ``ledger-positions``. Written is not committed. Kafka ends a
transaction partition by partition, so its record of the positions may be readable before the others
of the same transaction. But they are all in their logs, below the ends that Kafka shows to those
who read uncommitted records too. Those ends are what a reader must reach; and readers of committed
records come there only once the transaction has ended.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.feeds.protocol import Feed, FeedRefusal, offsets_of
from izin.kafka.tables.latest_records import (
    ForeignTokenError,
    LatestRecordReader,
    Wakeup,
    check_token,
    decided_below,
    taken_below,
)
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition
from izin.schemas.records import AvroRecord


class PipelinePositions:
    """Up to where the order stage has decided, and the ledger has taken decisions."""

    def __init__(self, settings: KafkaSettings, codec: Codec) -> None:
        self.changed = Wakeup()
        self.decided: dict[int, AvroRecord] = {}
        """The Avro Positions of each partition number that has any."""
        self.ledger: AvroRecord | None = None
        """The Avro LedgerPositions; None: none was read."""
        self._settings = settings
        self._codec = codec

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow both topics until the context ends; within a running event loop."""
        loop = asyncio.get_running_loop()

        def hand_over(topic: str, partition: int, record: AvroRecord) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.put, topic, partition, record)

        topics = self._settings.topics
        latest = LatestRecordReader(
            self._settings, self._codec, (topics.positions, topics.ledger_positions), hand_over
        )
        with latest.following():
            yield

    def put(self, topic: str, partition: int, record: AvroRecord) -> None:
        """Take the latest record of a partition of one of the topics."""
        if topic == self._settings.topics.positions.name:
            self.decided[partition] = record
        else:
            self.ledger = record
        self.changed.notify()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflection:
    """Waits for what tokens name."""

    settings: KafkaSettings
    admin: AdminClient
    progress: PipelinePositions

    async def ends(
        self,
        feed: Feed,
        token: Sequence[LogPosition],
        identities: TopicIdentities,
        *,
        within: float,
    ) -> Mapping[int, int]:
        """Return, by partition, up to where ``feed`` must be read to reflect ``token``.

        Waits up to ``within`` seconds.

        Raises:
            ForeignTokenError: it cannot be of this installation, or nothing was written yet where
                it names a record.
            RequestRefusedError: what it names is not processed yet.
            BrokerError: Kafka does not answer.
        """
        topics = self.settings.topics
        check_token(token, topics, identities)
        wanted: dict[int, dict[str, int]] = defaultdict(dict)
        for topic, partition, offset in token:
            wanted[partition][topic] = offset
        if not wanted:
            return {}
        try:
            async with asyncio.timeout(within):
                await self._until(lambda: self._is_decided(wanted, identities))
                if feed.follows_ledger:
                    decided = await self._ends_of(topics.decisions.name, wanted)
                    await self._until(lambda: self._is_taken(decided, identities))
                return await self._ends_of(feed.topic.name, wanted)
        except TimeoutError:
            is_decided = self._is_decided(wanted, identities)
            if not is_decided:
                await self._check_written(wanted)
            raise not_reflected("the ledger" if is_decided else "the order stage") from None

    async def _check_written(self, wanted: Mapping[int, Mapping[str, int]]) -> None:
        """Raise ForeignTokenError where a lane has no such offset: who gave a token had written."""
        for lane in {name for lanes in wanted.values() for name in lanes}:
            named = {number: lanes[lane] for number, lanes in wanted.items() if lane in lanes}
            ends = await self._ends_of(lane, named)
            if any(offset >= ends[number] for number, offset in named.items()):
                raise ForeignTokenError

    async def _until(self, holds: Callable[[], bool]) -> None:
        while True:
            changed = self.progress.changed.next
            if holds():
                return
            await changed.wait()

    def _is_decided(
        self, wanted: Mapping[int, Mapping[str, int]], identities: TopicIdentities
    ) -> bool:
        return all(
            decided_below(
                self.progress.decided.get(partition), topic, self.settings.topics, identities
            )
            > offset
            for partition, lanes in wanted.items()
            for topic, offset in lanes.items()
        )

    def _is_taken(self, ends: Mapping[int, int], identities: TopicIdentities) -> bool:
        taken = taken_below(self.progress.ledger, self.settings.topics, identities)
        return all(number in taken and taken[number] >= end for number, end in ends.items())

    async def _ends_of(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        return await offsets_of(self.admin, topic, partitions, OffsetSpec.latest())


def not_reflected(by: str) -> RequestRefusedError:
    """Return the refusal of a request for what ``by`` has not processed yet."""
    return FeedRefusal.STALE.error(f"{by} has not come so far")
