"""Faults on the sinks while recipients go on opting in and out, until everything has settled."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import psycopg
from pydantic import SecretStr

from izin.runtime.kafka import committed_ends
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from izin.sinks.ledger import brands, reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.messages import TopicMessages
from tests.chaos.sink.decision_source import DecisionSource
from tests.chaos.sink.verdict import SinkVerdict, judge
from tests.integration.sinks.sink_harness import ACTIVE, a_phone
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import LEASE, SinkProcesses

RESULT_DELAY = 1.0
_PAUSE = (0.1, 0.9)
_SETTLES_WITHIN = 180.0


class SinkFault(StrEnum):
    """The faults of the campaign."""

    KILL = "kill -9"
    FREEZE = "frozen, then a zombie"
    TERM = "SIGTERM"
    DATABASE = "every connection to PostgreSQL lost"
    LOST_AFTER = "reply lost after its effect"
    LOST_BEFORE = "call lost before its effect"
    BUSY = "İYS busy"
    SLOW = "İYS slower than its deadline"
    DOWN = "İYS down"


WEIGHTS = {
    SinkFault.KILL: 6,
    SinkFault.FREEZE: 4,
    SinkFault.TERM: 2,
    SinkFault.DATABASE: 2,
    SinkFault.LOST_AFTER: 6,
    SinkFault.LOST_BEFORE: 3,
    SinkFault.BUSY: 3,
    SinkFault.SLOW: 2,
    SinkFault.DOWN: 1,
}
RESTARTS = {SinkFault.KILL: 2, SinkFault.TERM: 1}
"""Nothing but processes that end and come back."""
_SIMULATOR_RULES: Mapping[SinkFault, Mapping[str, object]] = {
    SinkFault.LOST_AFTER: {"drop": "after"},
    SinkFault.LOST_BEFORE: {"drop": "before"},
    SinkFault.BUSY: {"status": 400, "code": "H123", "times": 2},
    SinkFault.SLOW: {"slowSeconds": 1.5},
    SinkFault.DOWN: {"status": 503, "code": "H192", "times": 12},
}
_OF_WORKERS = frozenset({SinkFault.KILL, SinkFault.TERM, SinkFault.FREEZE})
_CALLS = ("addV2", "batchV2", "resultV2", "status", "statuses")


@dataclass(kw_only=True)
class SinkCampaign:
    """One campaign; ``injected`` lists each fault, its target, and its second."""

    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    log: Path
    keys: int
    seed: int
    workers: int = 3
    kinds: Mapping[SinkFault, int] = field(default_factory=lambda: WEIGHTS)
    """Which faults are injected, and how often relative to the others."""
    seconds: float = 0.0
    """Over how long they are injected, evenly; 0: in quick succession."""
    restart_database: Callable[[], None] | None = None
    """Restarts the server; None: its clients are thrown out instead."""
    injected: list[tuple[float, SinkFault, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._source = DecisionSource(settings=self.settings)
        self._sinks = SinkProcesses(
            count=self.workers,
            settings=self.settings,
            database_url=self.database_url,
            simulator=self.simulator,
            log=self.log,
            result_delay=RESULT_DELAY,
        )
        self._thaws: set[asyncio.Task[None]] = set()

    async def run(self, faults: int) -> SinkVerdict:
        """Inject so many faults, let everything settle, and judge."""
        await migrate(self.database_url)
        ensure_topics(self.settings)
        self.simulator.configure(
            requestsPerSecond=10,
            requestWindow="sliding",
            tokenLimit=10,
            statusLimit=1000,
            resultDelay=RESULT_DELAY,
            hiddenWindow=0,
        )
        settings = LedgerSettings(database_url=SecretStr(self.database_url))
        began = time.monotonic()
        async with Ledger(settings, owner=1) as ledger:
            topic_messages = TopicMessages(Codec(), self.settings.topics)
            await brands.upsert(ledger, topic_messages, ACTIVE, by="test", now=datetime.now(UTC))
            try:
                self._sinks.start()
                for number in range(1, faults + 1):
                    await self._publish_events(until=began + number * self.seconds / faults)
                    fault, target = await self._inject()
                    self.injected.append((time.monotonic() - began, fault, target))
                    self._sinks.start()
                await self._settled(ledger)
            finally:
                await asyncio.gather(*self._thaws)
                self._sinks.end()
            return await judge(self.settings, ledger, self.simulator, self._source)

    async def _publish_events(self, *, until: float) -> None:
        """Publish events for a moment, and on until the instant (monotonic seconds)."""
        while True:
            await asyncio.to_thread(self._source.publish, *self._events())
            await asyncio.sleep(self._random.uniform(*_PAUSE))
            if time.monotonic() >= until:
                return
            self._sinks.start()

    def _events(self) -> list[tuple[str, str]]:
        """Return events of a few recipients; one may opt in and out several times."""
        events = []
        for _ in range(self._random.randint(1, 6)):
            recipient = a_phone(self._random.randrange(self.keys))
            states = ["ONAY"] if recipient not in self._source.events else ["ONAY", "RET"]
            events.append((recipient, self._random.choice(states)))
        return events

    async def _inject(self) -> tuple[SinkFault, str]:
        fault = self._random.choices(list(self.kinds), weights=list(self.kinds.values()))[0]
        number = self._random.randrange(self.workers)
        call = self._random.choice(_CALLS)
        if fault in _SIMULATOR_RULES:
            operation = "*" if fault is SinkFault.DOWN else call
            self.simulator.post("faults", operation=operation, **_SIMULATOR_RULES[fault])
        elif fault is SinkFault.DATABASE:
            await asyncio.to_thread(self._lose_database)
        else:
            self._inject_into_worker(fault, number)
        target = f"worker {number}" if fault in _OF_WORKERS else call
        return fault, target

    def _inject_into_worker(self, fault: SinkFault, number: int) -> None:
        match fault:
            case SinkFault.KILL:
                self._sinks.kill(number)
            case SinkFault.TERM:
                self._sinks.thaw(number)
                self._sinks.running[number].terminate()
            case _:
                if number not in self._sinks.frozen:
                    self._sinks.freeze(number)
                    self._thaws.add(asyncio.create_task(self._thaw(number)))

    async def _thaw(self, number: int) -> None:
        await asyncio.sleep(LEASE.total_seconds() * self._random.uniform(0.5, 2))
        self._sinks.thaw(number)

    def _lose_database(self) -> None:
        if self.restart_database is not None:
            self.restart_database()
            return
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    async def _settled(self, ledger: Ledger) -> None:
        """Return when nothing is left to do; fail after three minutes."""
        await asyncio.gather(*self._thaws)
        self.simulator.clear_faults()
        self._sinks.start()
        async with asyncio.timeout(_SETTLES_WITHIN):
            while not await self._is_settled(ledger):
                self._sinks.start()
                await asyncio.sleep(0.3)

    async def _is_settled(self, ledger: Ledger) -> bool:
        with suppress(LedgerUnavailableError):
            topic = self.settings.topics.decisions.name
            ends = await asyncio.to_thread(committed_ends, self.settings, topic)
            read = await reads.ingested(ledger)
            if any(read.get((topic, number), 0) < end for number, end in ends.items()):
                return False
            # Rescues and İYS's own events would go to the order stage, which is not here.
            return (await reads.lag(ledger, now=datetime.now(UTC))).is_settled
        return False
