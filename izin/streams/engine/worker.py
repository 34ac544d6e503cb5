"""The order worker: which partitions are ours, and what is done with a batch of one of them.

Every assignment begins a new generation. A partition is decided upon only while it was acquired
under the current one; whatever aborts a transaction makes it be acquired again, a bounded number of
times, and only while it is still ours. A batch fetched under an older generation is dropped: after
a rebalance the consumer reads again from the committed offsets. Any unexpected error stops the
worker before it commits.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException

from izin.consent.errors import OurError
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.budget import BUDGET, DeadLetterBudget, LatestRecords
from izin.streams.engine.transport import RecordBatch
from izin.streams.errors import (
    DeadLetterBudgetError,
    LostPartitionError,
    SkippedRecordsError,
    SplitLanesError,
)
from izin.streams.guard import SourceRecord
from izin.streams.order import OrderStage
from izin.streams.ownership.effects import DEAD_LETTER, Effects
from izin.streams.ownership.partition_transaction import OwnedPartition
from izin.streams.ownership.shared_clients import SharedClients
from izin.streams.state.state import MemoryState, PartitionState

MAX_ATTEMPTS = 5
_RETRY_AFTER = 0.2
"""Seconds: what fails twice in a row may need its broker to come up first."""
_FOLDED_AT_ONCE = 250
"""Records whose outputs are sent while the next are folded."""
_ACQUIRED_AT_ONCE = 16
"""An acquisition mostly waits for the broker."""

_log = get_logger(__name__)


class OrderWorker:
    """Owns partitions and handles their batches."""

    def __init__(
        self,
        *,
        settings: KafkaSettings,
        group: str,
        codec: Codec,
        new_state: Callable[[int], PartitionState] = lambda _: MemoryState(),
        budget: DeadLetterBudget = BUDGET,
    ) -> None:
        self._settings = settings
        self._clients = SharedClients(settings, group)
        self._codec = codec
        self._new_state = new_state
        self._stage = OrderStage(
            topics=settings.topics, partitions=settings.partitions, codec=codec
        )
        self._partitions: dict[int, OwnedPartition] = {}
        self.assigned: frozenset[int] = frozenset()
        """The partitions that the group gave this worker."""
        self._acquiring = asyncio.Semaphore(_ACQUIRED_AT_ONCE)
        self._threads = ThreadPoolExecutor(_ACQUIRED_AT_ONCE, thread_name_prefix="acquire")
        self._tasks: set[asyncio.Task[None]] = set()
        self._latest = LatestRecords(budget)
        self.generation = 0
        self.commit_seconds = 0.0
        self.counts: Counter[str] = Counter()
        """Of decisions by kind, dead letters by reason, opt-outs, batches, acquisitions …"""

    @property
    def ready(self) -> frozenset[int]:
        """The partitions that may be decided upon now."""
        return frozenset(
            number
            for number in self.assigned
            if (owned := self._partitions.get(number)) is not None
            and owned.generation == self.generation
        )

    @property
    def keys(self) -> int:
        """How many consents the states of the owned partitions have."""
        return sum(len(owned.state) for owned in self._partitions.values())

    @property
    def state_bytes(self) -> int:
        """How many bytes they take, roughly."""
        return sum(owned.state.size for owned in self._partitions.values())

    def next_offset(self, lane: str, number: int) -> int | None:
        """Return the offset of ``lane`` below which all is decided; None if it is not ours."""
        owned = self._partitions.get(number)
        return None if owned is None else owned.next_offsets.get(lane)

    async def assign(self, bulk: Iterable[int], express: Iterable[int]) -> None:
        """Begin a generation with these partition numbers of either lane.

        Raises SplitLanesError if they differ: a recipient's lanes would be decided by two workers.
        """
        numbers, of_express = frozenset(bulk), frozenset(express)
        if numbers != of_express:
            raise SplitLanesError(numbers, of_express)
        self.generation += 1
        self.assigned = numbers
        _log.info("partitions assigned", generation=self.generation, partitions=sorted(numbers))
        for number in self._partitions.keys() - numbers:
            self._partitions[number].release()
            self._start(self._close_state(number))
        for number in sorted(numbers):
            self._start(self._prepare(number))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close_state(self, number: int) -> None:
        """Close the state of ``number``, unless it came back meanwhile."""
        owned = self._partitions[number]
        async with owned.lock:
            if number not in self.assigned:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, owned.state.close)

    async def _prepare(self, number: int) -> None:
        """Acquire ``number`` before its first batch, which may come late; retry until it is
        acquired, or no longer ours.
        """
        generation = self.generation
        owned = self._owned(number)
        while generation == self.generation:
            try:
                async with owned.lock:
                    if generation == self.generation:
                        await self._ensure_acquired(owned)
            except KafkaException as error:
                _log.warning("acquisition failed", partition=number, error=error.args[0].str())
                await asyncio.sleep(_RETRY_AFTER)
            except OurError:
                # Its first batch will stop the worker; without one it must be reported too.
                _log.critical("acquisition refused", partition=number, exc_info=True)
                return
            else:
                return

    async def handle(self, topic: str, partition: int, batch: RecordBatch) -> None:
        """Decide ``batch`` of the lane ``topic``; on return the batch is committed or not ours.

        Raises SkippedRecordsError, LostPartitionError, StateError and DeadLetterBudgetError, each
        of which must stop the worker.
        """
        generation = self.generation
        owned = self._owned(partition)
        async with owned.lock:
            for attempt in range(MAX_ATTEMPTS):
                if generation != self.generation or partition not in self.assigned:
                    _log.info("outdated batch dropped", partition=partition)
                    return
                try:
                    if not await self._ensure_acquired(owned):
                        continue
                    self._commit(owned, topic, batch)
                    await self._ensure_acquired(owned)  # again, if the commit released it
                except KafkaException as error:
                    owned.release()
                    self.counts["aborted"] += 1
                    _log.warning(
                        "transaction aborted", partition=partition, error=error.args[0].str()
                    )
                    await asyncio.sleep(attempt * _RETRY_AFTER)
                else:
                    return
            raise LostPartitionError(partition, MAX_ATTEMPTS)

    def _commit(self, owned: OwnedPartition, topic: str, batch: RecordBatch) -> None:
        expected = owned.next_offsets[topic]
        if batch.start > expected:
            raise SkippedRecordsError(topic, owned.number, expected, batch.start)
        if batch.next_offset <= expected:
            return
        records = undecided(batch.records, expected)
        effects = Effects()
        for start in range(0, len(records), _FOLDED_AT_ONCE):
            some = records[start : start + _FOLDED_AT_ONCE]
            self._stage.fold(owned.number, some, owned.state, effects)
            if self._latest.would_exceed(effects.suspects, len(records)):
                suspects = self._latest.suspects + effects.suspects
                seen = self._latest.records + len(records)
                raise DeadLetterBudgetError(topic, owned.number, suspects, seen)
            owned.write(effects)
        began = time.perf_counter()
        owned.commit(effects, topic=topic, next_offset=batch.next_offset)
        self.commit_seconds += time.perf_counter() - began
        self._count(effects, topic, len(records))

    def _count(self, effects: Effects, topic: str, records: int) -> None:
        self._latest.add(effects.suspects, records)
        self.counts.update(effects.counts)
        self.counts["batches"] += 1
        self.counts["records"] += records
        for lane, partition, offset in effects.alarms:
            _log.critical(
                "opt-out dead-lettered",
                remedy="izin dead-letters lists what is, or may be, an opt-out (RET)",
                topic=lane,
                partition=partition,
                offset=offset,
            )
        reasons = {
            name.removeprefix(DEAD_LETTER): count
            for name, count in effects.counts.items()
            if name.startswith(DEAD_LETTER)
        }
        others = sum(reasons.values()) - len(effects.alarms)
        if others:
            _log.warning("records dead-lettered", topic=topic, count=others, reasons=reasons)

    async def _ensure_acquired(self, owned: OwnedPartition) -> bool:
        """Acquire ``owned`` unless it was under this generation; return False if another began."""
        generation = self.generation
        if owned.generation == generation:
            return True
        async with self._acquiring:
            if generation != self.generation:  # to acquire it now would fence its new owner
                return False
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, owned.acquire)
        if generation != self.generation:
            owned.release()
            return False
        owned.generation = generation
        self.counts["acquisitions"] += 1
        return True

    def _owned(self, number: int) -> OwnedPartition:
        owned = self._partitions.get(number)
        if owned is None:
            owned = self._partitions[number] = OwnedPartition(
                number,
                clients=self._clients,
                codec=self._codec,
                state=self._new_state(number),
            )
        return owned

    async def close(self) -> None:
        """Release every partition and client; a batch that still comes is dropped."""
        self.generation += 1
        self.assigned = frozenset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for owned in self._partitions.values():
            async with owned.lock:
                owned.release()
                await asyncio.to_thread(owned.state.close)
        await asyncio.to_thread(self._clients.close)
        self._threads.shutdown(wait=False)


def undecided(records: Sequence[SourceRecord], next_offset: int) -> Sequence[SourceRecord]:
    """Return those of ``records`` that no committed transaction has decided yet."""
    if records[0].offset >= next_offset:
        return records
    return [record for record in records if record.offset >= next_offset]
