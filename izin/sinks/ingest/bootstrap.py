"""Restore the ledger from the topic of desired consents, where retention removed its decisions.

A new ledger, or one that was away for longer than decisions are kept, cannot be rebuilt from them.
The compacted topic has the winner of every key. For each partition the offset is recorded first
from which decisions are left, then the state is read up to its end; whatever changes meanwhile is
among those decisions. Rows and offset advance in one transaction, so a killed process goes on where
it was, and a row that is newer by the law's order stays as it is.

What İYS holds is not in that topic: it is unknown, and queried before an ONAY is submitted.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from izin.consent.model import Consent
from izin.runtime.dead_letter_budget import DeadLetterBudget, LatestRecords
from izin.runtime.errors import BrokerError
from izin.runtime.kafka import watermarks
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ingest.state_reader import StateReader
from izin.sinks.ingest.topic_reader import TopicReader, identity, reader_at
from izin.sinks.ledger import bootstraps, offsets
from izin.sinks.ledger.bootstraps import Bootstrap, Range
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import sole
from izin.sinks.record.errors import (
    BootstrapHeldError,
    ConcurrentChangeError,
    RecreatedTopicError,
    StreamUnavailableError,
)
from izin.sinks.record.messages import TopicMessages

_REPORT_EVERY = timedelta(seconds=10)

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bootstrapper:
    """Restores partitions of the ledger; one process at a time does."""

    ledger: Ledger
    topic_messages: TopicMessages
    codec: Codec
    settings: KafkaSettings
    clock: Callable[[], datetime]
    is_suppressed: Callable[[Consent], bool] = lambda _: False
    """Whether a consent is one of an erased person; the topic's own tombstones say so later."""

    @cached_property
    def latest(self) -> LatestRecords:
        """How many records could not be stored lately."""
        return LatestRecords(DeadLetterBudget(share=self.settings.dead_letter_share))

    @property
    def _topic(self) -> str:
        return self.settings.topics.desired_consents.name

    async def lost(self) -> list[Range]:
        """Return the partitions whose next decision retention has removed.

        Raises: StreamUnavailableError, RecreatedTopicError.
        """
        decisions = self.settings.topics.decisions.name
        cluster_id, topic_id, partitions = await asyncio.to_thread(
            identity, self.settings, decisions
        )
        positions = await offsets.positions(
            self.ledger, decisions, partitions, cluster_id=cluster_id, topic_id=topic_id
        )
        starts = await self._watermarks(decisions)
        lost = [number for number in partitions if positions[number] < starts[number][0]]
        if not lost:
            return []
        return await self._ranges(lost, starts)

    async def everything(self) -> list[Range]:
        """Return every partition: of a ledger that has nothing. Raises as :meth:`lost`."""
        await self.lost()
        starts = await self._watermarks(self.settings.topics.decisions.name)
        return await self._ranges(starts, starts)

    async def _ranges(
        self, partitions: Iterable[int], starts: Mapping[int, tuple[int, int]]
    ) -> list[Range]:
        ends = await self._watermarks(self._topic)
        return [
            Range(partition=number, decisions_from=starts[number][0], end_offset=ends[number][1])
            for number in partitions
        ]

    async def _watermarks(self, topic: str) -> Mapping[int, tuple[int, int]]:
        try:
            return await asyncio.to_thread(watermarks, self.settings, topic)
        except BrokerError as error:
            raise StreamUnavailableError(str(error)) from error

    async def begin(self, lost: Sequence[Range], *, by: str | None = None) -> None:
        """Record that the ``lost`` partitions are to be restored, and where decisions go on.

        Where a person ordered it, ``by``, the history has who.
        """
        _, topic_id, _ = await asyncio.to_thread(identity, self.settings, self._topic)
        await bootstraps.begin(
            self.ledger,
            lost,
            topic=self._topic,
            topic_id=topic_id,
            decisions=self.settings.topics.decisions.name,
            now=self.clock(),
            by=by,
        )

    async def begin_if_lost(self) -> frozenset[int]:
        """Begin to restore the partitions that are lost, with an alert; return all that wait.

        Where the topic of decisions was created again, all are: what it had and was not read is in
        the state. What another cluster has is no reason to forget.

        Raises: StreamUnavailableError, RecreatedTopicError.
        """
        decisions = self.settings.topics.decisions.name
        try:
            lost, is_recreated = await self.lost(), False
        except RecreatedTopicError as error:
            if error.is_other_cluster:
                raise
            starts = await self._watermarks(decisions)
            lost, is_recreated = await self._ranges(starts, starts), True
        if lost:
            _log.critical(
                "topic recreated" if is_recreated else "decisions lost",
                topic=decisions,
                partitions=sorted(one.partition for one in lost),
                effect="the ledger is restored from desired-consents and İYS is queried for each "
                "of its keys before an opt-in is submitted; opt-outs go on",
                remedy="izin ledger bootstrap shows the progress; the history lacks what retention "
                "has removed",
            )
            await self.begin(lost)
        if is_recreated:  # not before: a process that ends between the two begins again
            await offsets.forget(self.ledger, decisions)
        return frozenset(one.partition for one in await self.unfinished())

    async def progress(self) -> tuple[Bootstrap, ...]:
        """Return what is being restored, or was."""
        return await bootstraps.progress(self.ledger, self._topic)

    async def unfinished(self) -> tuple[Bootstrap, ...]:
        """Return what is still to be restored."""
        return tuple(one for one in await self.progress() if one.finished_at is None)

    async def restore(self) -> None:
        """Restore what is to be restored; where a person must look, call one and wait for ever."""
        try:
            await self.run()
        except BootstrapHeldError as error:
            _log.critical(
                "bootstrap held back", error=str(error), effect="opt-ins wait; opt-outs go on"
            )
            await asyncio.Event().wait()

    async def run(self, report: Callable[[Sequence[Bootstrap]], None] | None = None) -> None:
        """Restore what is to be restored, with a ``report`` of the progress every ten seconds.

        Raises: BootstrapHeldError.
        """
        async with sole(self.ledger, "bootstrap") as ledger:
            owner = replace(self, ledger=ledger)
            while waiting := await owner.unfinished():
                try:
                    await owner.restore_part(waiting, report or _log_progress)
                except ConcurrentChangeError as error:
                    _log.info("bootstrap restarted", reason=str(error))

    async def restore_part(
        self, waiting: Sequence[Bootstrap], report: Callable[[Sequence[Bootstrap]], None]
    ) -> None:
        """Restore until all is read, or it is time to report."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _REPORT_EVERY.total_seconds()
        positions = {one.partition: one.next_offset for one in waiting}
        client = reader_at(
            self.settings, self._topic, positions, group="izin-ledger", lost="earliest"
        )
        reader = TopicReader(
            client, topic=self._topic, topic_id=waiting[0].topic_id, positions=positions
        )
        state = StateReader(
            ledger=self.ledger,
            topic_messages=self.topic_messages,
            codec=self.codec,
            clock=self.clock,
            latest=self.latest,
            reader=reader,
            ends={one.partition: one.end_offset for one in waiting},
            is_suppressed=self.is_suppressed,
        )
        try:
            while not await state.is_read() and loop.time() < until:
                await state.step()
        finally:
            await reader.close()
        report(await self.progress())


def _log_progress(progress: Sequence[Bootstrap]) -> None:
    _log.warning(
        "bootstrap in progress",
        partitions=sum(one.finished_at is None for one in progress),
        offsets=sum(max(one.end_offset - one.next_offset, 0) for one in progress),
        keys=sum(one.keys for one in progress),
    )
