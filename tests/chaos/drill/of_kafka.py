"""Drills about Kafka and the order stage: all of it is lost, one broker of three, the state's disk;
and clocks that are wrong.
"""

import asyncio
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from izin.consent import Status
from tests.chaos.drill.site import Drill, DrillVerdict
from tests.chaos.gate.traffic import PublishedEvent
from tests.chaos.inbound.__main__ import recorded_facts
from tests.support.order.verdict import Worker
from tests.support.skewed_process import MOST_SKEW

_ACTED = 15.0
"""Seconds for which recipients act, before the disaster and after it."""
_UNREAD = 5.0
"""For how long the ledger does not read meanwhile."""


@dataclass(slots=True, kw_only=True)
class KafkaLost(Drill):
    """Kafka is gone with its disks: the order stage's state comes from the ledger's history."""

    async def run(self) -> DrillVerdict:
        """See the class."""
        (broker,) = self.servers.brokers
        async with self.running() as running:
            await self.act(_ACTED)
            running.sinks.kill(0)
            await self.act(_UNREAD)
            running.kill()
            await asyncio.to_thread(broker.kill)
            data = broker.log.parent
            shutil.rmtree(data / "data")
            (data / "formatted").unlink()
            gone = await self._gone()
            began = time.monotonic()
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(self._recover)
            running.start()
            await self.settled()
            verdict = await self.judge(began, without=gone)
            await asyncio.to_thread(self._publish_again, gone)
            await self.act(_ACTED)
            await self.settled()
            again = await self.judge(began)
        named = (
            f"{len(gone)} events that were acknowledged and not ingested, "
            f"{sum(one.status is Status.RET for one in gone)} of them opt-outs; their producers "
            "published them again"
        )
        return DrillVerdict(
            events=again.events,
            recovery=verdict.recovery,
            lost=[*verdict.lost, *again.lost],
            doubled=again.doubled,
            repeated=again.repeated,
            opt_outs_again=again.opt_outs_again,
            named=named,
        )

    async def _gone(self) -> list[PublishedEvent]:
        """Return the events that the ledger's history does not have."""
        async with self.ledger() as ledger:
            known = {one.event_id for one in await recorded_facts(ledger)}
        every = (one for events in self.traffic.events.values() for one in events)
        return [one for one in every if one.event_id not in known]

    def _recover(self) -> None:
        """Do what docs/replaying.md says under "Kafka is lost"."""
        plan = str(self.servers.folder / "lost-kafka.json")
        self.izin("doctor", "--fix", "--no-running")
        rebuild = ("replay", "rebuild", "desired-consents", "--from-history", "--plan", plan)
        self.izin(*rebuild, expected=1)
        self.izin("replay", "run", plan, "--execute")
        self.izin("ledger", "republish", "--execute")

    def _publish_again(self, gone: list[PublishedEvent]) -> None:
        for one in gone:
            self.traffic.publish_again(one)


@dataclass(slots=True, kw_only=True)
class BrokerOfThree(Drill):
    """One broker of three dies with its disk, and comes back without it."""

    brokers = 3

    async def run(self) -> DrillVerdict:
        """See the class."""
        first = self.servers.brokers[0]
        async with self.running():
            acting = asyncio.create_task(self.act(3 * _ACTED))
            await asyncio.sleep(_ACTED)
            began = time.monotonic()
            await asyncio.to_thread(first.kill)
            shutil.rmtree(first.log.parent / "data")
            (first.log.parent / "formatted").unlink()
            await asyncio.sleep(_ACTED)
            await asyncio.to_thread(first.start)
            await acting
            await self.settled()
            return await self.judge(began)


@dataclass(slots=True, kw_only=True)
class OrderDiskLost(Drill):
    """An order worker dies with the disk of its state, and another host takes its place."""

    def order_worker(self) -> Worker:
        """Return one that keeps its state on a disk."""
        environment = {"IZIN_STATE": "rocksdb", "IZIN_STATE_FOLDER": str(self._state)}
        log = self.servers.folder / "order.log"
        return Worker("order", self.settings, log, environment=environment)

    @property
    def _state(self) -> Path:
        return self.servers.folder / "state"

    async def run(self) -> DrillVerdict:
        """See the class."""
        async with self.running() as running:
            acting = asyncio.create_task(self.act(2 * _ACTED))
            await asyncio.sleep(_ACTED)
            assert any(self._state.rglob("*")), "the worker keeps no state on the disk"
            began = time.monotonic()
            running.order.kill()
            shutil.rmtree(self._state)
            running.start()
            await acting
            await self.settled()
            return await self.judge(began)


@dataclass(slots=True, kw_only=True)
class ClockWrong(Drill):
    """The clocks of both workers are ten minutes wrong, against each other, and are set right."""

    def order_worker(self) -> Worker:
        """Return one whose clock is behind."""
        log = self.servers.folder / "order.log"
        return SkewedWorker("order", self.settings, log, module="tests.support.skewed_process")

    async def run(self) -> DrillVerdict:
        """See the class."""
        async with self.running(skews={0: MOST_SKEW}) as running:
            acting = asyncio.create_task(self.act(2 * _ACTED))
            await asyncio.sleep(_ACTED)
            began = time.monotonic()
            running.order.send(signal.SIGWINCH)
            running.sinks.jump(0, signal.SIGWINCH)
            await acting
            await self.settled()
            return await self.judge(began)


class SkewedWorker(Worker):
    """An order worker whose clock is behind when it starts."""

    arguments = (str(-MOST_SKEW), "izin.streams")
