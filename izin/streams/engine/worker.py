"""The order worker: which partitions are ours, and a processor for each of them.

Every assignment begins a new generation, for which each partition is acquired anew. Batches are
only handed on: what one partition waits for, no other waits for.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import KafkaException

from izin.runtime.dead_letter_budget import BUDGET, DeadLetterBudget, LatestRecords
from izin.runtime.logs import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.streams.engine.gate import FetchGate, Lane, RecordBatch
from izin.streams.engine.partition_processor import PartitionProcessor, Turns
from izin.streams.errors import SplitLanesError
from izin.streams.order import OrderStage
from izin.streams.ownership import OwnedPartition, SharedClients
from izin.streams.state.state import MemoryState, PartitionState

_ACQUIRED_AT_ONCE = 16
"""An acquisition mostly waits for the broker."""
_CLOSED_WITHIN = 2.0
"""Seconds for the batches in hand when the worker ends."""
_CHECK_INTERVAL = 10.0
"""Seconds between two looks at the topics' ids."""

_log = get_logger(__name__)


class OrderWorker:
    """Owns partitions and decides their batches."""

    def __init__(  # noqa: PLR0913  # all that a worker is made of
        self,
        *,
        settings: KafkaSettings,
        group: str,
        codec: Codec,
        new_state: Callable[[int], PartitionState] = lambda _: MemoryState(),
        budget: DeadLetterBudget = BUDGET,
        suppressions: SuppressionKeys = NO_SUPPRESSIONS,
    ) -> None:
        self.gate = FetchGate()
        self.assigned: frozenset[int] = frozenset()
        """The partitions that the group gave this worker."""
        self.generation = 0
        self.counts: Counter[str] = Counter()
        """Of decisions by kind, dead letters by reason, opt-outs, batches, acquisitions …"""
        self._settings = settings
        self._clients = SharedClients(settings, group)
        self._codec = codec
        self._new_state = new_state
        self._budget = budget
        self._suppressions = suppressions
        self._stage = OrderStage(
            topics=settings.topics,
            partitions=settings.partitions,
            codec=codec,
            suppressions=suppressions,
        )
        self._acquiring = asyncio.Semaphore(_ACQUIRED_AT_ONCE)
        self._turns = Turns()
        self._processors: dict[int, PartitionProcessor] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> frozenset[int]:
        """The partitions whose batches are decided as they come."""
        return frozenset(
            number
            for number in self.assigned
            if (processor := self._processors.get(number)) is not None and processor.is_ready
        )

    @property
    def paused(self) -> frozenset[int]:
        """The partitions whose opt-ins (ONAY) wait for a person."""
        return frozenset(number for number in self.ready if self._processors[number].is_paused)

    @property
    def keys(self) -> int:
        """How many consents the states of the owned partitions have."""
        return sum(len(processor.owned.state) for processor in self._processors.values())

    @property
    def state_bytes(self) -> int:
        """How many bytes they take, roughly."""
        return sum(processor.owned.state.size for processor in self._processors.values())

    @property
    def commit_seconds(self) -> float:
        """How long all commits took."""
        return sum(processor.commit_seconds for processor in self._processors.values())

    @property
    def decided(self) -> Mapping[Lane, int]:
        """By lane and partition that is ready: the offset below which all is decided."""
        return {
            (lane, number): offset
            for number in self.ready
            for lane, offset in self._processors[number].owned.next_offsets.items()
        }

    def next_offset(self, lane: str, number: int) -> int | None:
        """Return the offset of ``lane`` below which all is decided; None if it is not ours."""
        processor = self._processors.get(number)
        return None if processor is None else processor.owned.next_offsets.get(lane)

    async def assign(self, bulk: Iterable[int], express: Iterable[int]) -> None:
        """Begin a generation with these partition numbers of either lane.

        Raises SplitLanesError if they differ: a recipient's lanes would be decided by two workers.
        """
        numbers, of_express = frozenset(bulk), frozenset(express)
        if numbers != of_express:
            raise SplitLanesError(
                f"the lanes are split: {sorted(numbers ^ of_express)} in one lane only; do all "
                "workers run the same release, and have both topics the same partition count?"
            )
        _log.info("partitions assigned", partitions=sorted(numbers), process=os.getpid())
        self._begin(numbers)

    def _begin(self, numbers: frozenset[int]) -> None:
        self.generation += 1
        self.assigned = numbers
        for number in self._processors.keys() - numbers:
            self._processors[number].assign(None)
        for number in sorted(numbers):
            self._processor(number).assign(self.generation)

    def dispatch(self, lane: str, number: int, batch: RecordBatch) -> None:
        """Hand ``batch`` to its partition's processor, which drops it unless it is current."""
        processor = self._processors.get(number)
        if processor is not None:
            processor.add(lane, batch)

    def _processor(self, number: int) -> PartitionProcessor:
        found = self._processors.get(number)
        if found is None:
            topics = self._settings.topics
            owned = OwnedPartition(
                number,
                clients=self._clients,
                codec=self._codec,
                state=self._new_state(number),
                suppressions=self._suppressions,
            )
            found = self._processors[number] = PartitionProcessor(
                owned,
                lanes=(topics.express.name, topics.events.name),
                stage=self._stage,
                gate=self.gate,
                acquiring=self._acquiring,
                turns=self._turns,
                latest=LatestRecords(self._budget),
                counts=self.counts,
            )
            self._tasks.add(asyncio.create_task(found.run(), name=f"partition-{number}"))
        return found

    async def watch_topics(self) -> None:
        """Acquire every partition anew whenever a topic was created anew, until cancelled.

        A consumer would read on in the new topic from the old offset, and skip what is below.
        """
        while True:
            await asyncio.sleep(_CHECK_INTERVAL)
            await self.check_topics()

    async def check_topics(self) -> None:
        """Begin a generation if a topic was created anew since a partition was acquired."""
        try:
            origin = await in_daemon_thread(self._clients.origin, name="topic-ids")
        except KafkaException as error:
            _log.debug("topic ids not read", error=error.args[0].str())
            return
        if any(
            processor.owned.origin not in {None, origin} for processor in self._processors.values()
        ):
            _log.critical("topic recreated", effect="every partition is acquired again")
            self._begin(self.assigned)

    async def close(self) -> None:
        """Release every partition and client, after the batches in hand; drop what still comes."""
        self.generation += 1
        self.assigned = frozenset()
        for processor in self._processors.values():
            processor.close()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_CLOSED_WITHIN)
            if late:
                names = sorted(task.get_name() for task in late)
                _log.warning("partitions not released in time", tasks=names)
        await in_daemon_thread(self._clients.close, name="close-clients")
