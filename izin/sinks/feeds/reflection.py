"""Whether what a consistency token names can be read in a feed, and up to where it must be read.

An event at an offset of an input topic is decided once ``order-positions`` of its partition number
is beyond that offset. What follows from it is then written on the same partition number: the opt-
out, and the decision. The ledger has taken the decision once ``ledger-positions`` is beyond the end
that ``consent-decisions`` has by then; the permission and the outcome are then written too.

Written is not committed. Kafka ends a transaction partition by partition, so its record of the
positions may be readable before the others of the same transaction. But they are all in their logs,
below the ends that Kafka shows to those who read uncommitted records too. Those ends are what a
reader must reach; and readers of committed records come there only once the transaction has ended.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, OffsetSpec

from izin.consent.errors import OurError
from izin.projections.decided import (
    ForeignTokenError,
    check_token,
    decided_below,
    taken_below,
)
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import TopicIdentities, offsets
from izin.schemas.consistency_token import LogPosition
from izin.sinks.feeds.log import Feed, UnreachableLogError
from izin.sinks.feeds.progress import PipelineProgress


class NotReflectedError(OurError):
    """What a token names cannot be read yet."""

    def __init__(self, by: str) -> None:
        super().__init__(f"{by} has not come so far")
        self.by = by
        """Who has not come so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflection:
    """Waits for what tokens name."""

    settings: KafkaSettings
    admin: AdminClient
    progress: PipelineProgress

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
            NotReflectedError: what it names is not processed yet.
            UnreachableLogError: Kafka does not answer.
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
                await self._until_decided(wanted, identities)
                if feed.follows_ledger:
                    decided = await self._ends_of(topics.decisions.name, wanted)
                    await self._until_taken(decided, identities)
                return await self._ends_of(feed.topic.name, wanted)
        except TimeoutError:
            is_decided = self._is_decided(wanted, identities)
            if not is_decided:
                await self._check_written(wanted)
            raise NotReflectedError("the ledger" if is_decided else "the order stage") from None

    async def _check_written(self, wanted: Mapping[int, Mapping[str, int]]) -> None:
        """Raise ForeignTokenError where a lane has no such offset: who gave a token had written."""
        for lane in {name for lanes in wanted.values() for name in lanes}:
            named = {number: lanes[lane] for number, lanes in wanted.items() if lane in lanes}
            ends = await self._ends_of(lane, named)
            if any(offset >= ends[number] for number, offset in named.items()):
                raise ForeignTokenError

    async def _until_decided(
        self, wanted: Mapping[int, Mapping[str, int]], identities: TopicIdentities
    ) -> None:
        while True:
            changed = self.progress.changed.next
            if self._is_decided(wanted, identities):
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

    async def _until_taken(self, ends: Mapping[int, int], identities: TopicIdentities) -> None:
        while True:
            changed = self.progress.changed.next
            taken = taken_below(self.progress.ledger, self.settings.topics, identities)
            if all(number in taken and taken[number] >= end for number, end in ends.items()):
                return
            await changed.wait()

    async def _ends_of(self, topic: str, partitions: Collection[int]) -> Mapping[int, int]:
        try:
            return await in_daemon_thread(
                lambda: offsets(self.admin, topic, partitions, OffsetSpec.latest()),
                name="feed ends",
            )
        except KafkaException as error:
            raise UnreachableLogError(f"{topic}: {error.args[0].str()}") from error
