"""Faults around the sinks: of the lanes and decisions that they read, and of their disk."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from izin.ledger.db import Ledger
from izin.ledger.history import verify
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.chaos.hostile.writer import leave_open
from tests.chaos.input_faults import HostileInput, InputFault
from tests.chaos.sink.decision_source import DecisionSource
from tests.chaos.sink.faults import OF_LANES, SinkFault
from tests.chaos.sink.outages import DECISIONS, Outages
from tests.support.hostile.small_disk import SmallDisk
from tests.support.subscribers.topics import delete_topics

ANCHORED_EVERY = 0.5
"""Seconds between two anchors of the history."""
WILD = 20
"""How many decisions with wild clocks are written at once."""
_FULL = 3.0
"""Seconds for which the disk is full."""
_LOOKS = 0.2
_HELD_BACK = "transaction left open"


@dataclass(kw_only=True)
class Surroundings:
    """What the sinks read, and where they write anchors."""

    settings: KafkaSettings
    source: DecisionSource
    outages: Outages
    random: random.Random
    seed: int
    disk: SmallDisk | None
    """None: it cannot be filled here."""

    def __post_init__(self) -> None:
        self._hostile = HostileInput(self.settings, self.seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wild = 0

    async def inject(self, fault: SinkFault) -> str:
        """Inject ``fault``; return what it hit."""
        if fault in OF_LANES:
            kind = InputFault(fault.value)
            return await asyncio.to_thread(self._hostile.inject, kind, self.random)
        if fault is SinkFault.HELD_BACK:
            return await self._hold_back()
        if fault is SinkFault.DISK:
            return await self._fill()
        others: Mapping[SinkFault, Callable[[], str]] = {
            SinkFault.LANES: self.recreate_lanes,
            SinkFault.WILD: self._write_wild,
        }
        return await asyncio.to_thread(others[fault])

    async def settle(self) -> None:
        """Return once nothing of it lasts; the lanes are new ones, and have a record in each
        partition.
        """
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self.recreate_lanes)
        await asyncio.to_thread(self._write_to_lanes)

    def recreate_lanes(self) -> str:
        """Delete both lanes, and create them again, as nobody may who has an order stage."""
        topics = self.settings.topics
        delete_topics(self.settings, topics.events.name, topics.express.name)
        ensure_topics(self.settings)
        return "lanes"

    async def unanchored(self, ledger: Ledger) -> int:
        """Return how many anchors the file lacks."""
        if self.disk is None:
            return 0
        known = {one.id for one in await asyncio.to_thread(verify.read_anchors, self.disk.anchors)}
        return len({one.id for one in await verify.anchors_after(ledger, 0)} - known)

    def _write_to_lanes(self) -> None:
        producer, topics = kafka.producer(self.settings), self.settings.topics
        for lane in (topics.events.name, topics.express.name):
            for partition in range(self.settings.partitions):
                producer.produce(lane, b"no event", partition=partition)
        assert producer.flush(30) == 0

    def _write_wild(self) -> str:
        for _ in range(WILD):
            self.source.publish_wild(self._wild, self.random)
            self._wild += 1
        return self.source.topic

    async def _hold_back(self) -> str:
        """Leave a transaction open among the decisions, whose end nobody waits for; until then what
        is behind it cannot be read.
        """
        topic, number = self.source.topic, self.random.randrange(self.settings.partitions)
        self.outages.begin(DECISIONS, _HELD_BACK)
        await asyncio.to_thread(leave_open, self.settings, topic, number)
        first = (await asyncio.to_thread(kafka.committed_ends, self.settings, topic))[number]

        async def until_read() -> None:
            while True:
                ends = await asyncio.to_thread(kafka.committed_ends, self.settings, topic)
                if ends[number] > first:
                    break
                await asyncio.sleep(_LOOKS)
            self.outages.end(DECISIONS, _HELD_BACK)

        self._begin(until_read())
        return f"{topic}[{number}]"

    async def _fill(self) -> str:
        disk = self.disk
        assert disk is not None
        await asyncio.to_thread(disk.fill)

        async def until_cleared() -> None:
            await asyncio.sleep(_FULL)
            disk.clear()

        self._begin(until_cleared())
        return "anchors"

    def _begin(self, lasting: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(lasting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
