"""Faults on the sinks while people go on saying yes and no, until everything has settled."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import psycopg
from pydantic import SecretStr

from izin.runtime.kafka import committed_ends, ensure_topics
from izin.runtime.settings import LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import brands, reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.messages import Announcer
from tests.chaos.sink.processes import LEASE, Iys, Law, Workers, a_phone
from tests.chaos.sink.verdict import Verdict, judge
from tests.integration.sinks.house import ACTIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from izin.runtime.settings import KafkaSettings

RESULT_DELAY = 1.0
_PAUSE = (0.1, 0.9)
_SETTLES_WITHIN = 180.0


class Fault(StrEnum):
    """What befalls the sinks."""

    KILL = "kill -9"
    FREEZE = "frozen, woke as a zombie"
    TERM = "SIGTERM"
    DATABASE = "every connection to PostgreSQL lost"
    LOST_AFTER = "answer lost after its effect"
    LOST_BEFORE = "call lost before its effect"
    BUSY = "İYS busy"
    SLOW = "İYS slower than its deadline"
    DOWN = "İYS down"


WEIGHTS = {
    Fault.KILL: 6,
    Fault.FREEZE: 4,
    Fault.TERM: 2,
    Fault.DATABASE: 2,
    Fault.LOST_AFTER: 6,
    Fault.LOST_BEFORE: 3,
    Fault.BUSY: 3,
    Fault.SLOW: 2,
    Fault.DOWN: 1,
}
RESTARTS = {Fault.KILL: 2, Fault.TERM: 1}
"""Nothing but processes that end and come back."""
_WEATHER: Mapping[Fault, Mapping[str, object]] = {
    Fault.LOST_AFTER: {"drop": "after"},
    Fault.LOST_BEFORE: {"drop": "before"},
    Fault.BUSY: {"status": 400, "code": "H123", "times": 2},
    Fault.SLOW: {"slowSeconds": 1.5},
    Fault.DOWN: {"status": 503, "code": "H192", "times": 12},
}
_OF_WORKERS = frozenset({Fault.KILL, Fault.TERM, Fault.FREEZE})
_CALLS = ("addV2", "batchV2", "resultV2", "status", "statuses")


@dataclass(kw_only=True)
class Campaign:
    """One campaign; ``strikes`` tells what befell whom, and when."""

    settings: KafkaSettings
    database_url: str
    iys: Iys
    log: Path
    keys: int
    seed: int
    workers: int = 3
    kinds: Mapping[Fault, int] = field(default_factory=lambda: WEIGHTS)
    """Which faults fall, and how often beside one another."""
    seconds: float = 0.0
    """Over so long a time they fall, evenly; 0: one after another, in quick succession."""
    restart_database: Callable[[], None] | None = None
    """Restarts the server; None: its clients are thrown out instead."""
    strikes: list[tuple[float, Fault, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._law = Law(settings=self.settings)
        self._house = Workers(
            count=self.workers,
            settings=self.settings,
            database_url=self.database_url,
            iys=self.iys,
            log=self.log,
            result_delay=RESULT_DELAY,
        )
        self._thaws: set[asyncio.Task[None]] = set()

    async def run(self, faults: int) -> Verdict:
        """Strike so often, let everything settle, and judge."""
        await migrate(self.database_url)
        ensure_topics(self.settings)
        self.iys.set_up(result_delay=RESULT_DELAY)
        settings = LedgerSettings(database_url=SecretStr(self.database_url))
        began = time.monotonic()
        async with Ledger(settings, owner=1) as ledger:
            announcer = Announcer(Codec(), self.settings.topics)
            await brands.upsert(ledger, announcer, ACTIVE, now=datetime.now(UTC))
            try:
                self._house.start()
                for number in range(1, faults + 1):
                    await self._lived(until=began + number * self.seconds / faults)
                    fault, whom = await self._strike()
                    self.strikes.append((time.monotonic() - began, fault, whom))
                    self._house.start()
                await self._settled(ledger)
            finally:
                await asyncio.gather(*self._thaws)
                self._house.end()
            return await judge(self.settings, ledger, self.iys, self._law)

    async def _lived(self, *, until: float) -> None:
        """Have people speak for a moment, and on until the instant (monotonic seconds)."""
        while True:
            await asyncio.to_thread(self._law.say, *self._said())
            await asyncio.sleep(self._random.uniform(*_PAUSE))
            if time.monotonic() >= until:
                return
            self._house.start()

    def _said(self) -> list[tuple[str, str]]:
        """Return what a few recipients say now; one may change its mind back and forth."""
        said = []
        for _ in range(self._random.randint(1, 6)):
            recipient = a_phone(self._random.randrange(self.keys))
            states = ["ONAY"] if recipient not in self._law.said else ["ONAY", "RET"]
            said.append((recipient, self._random.choice(states)))
        return said

    async def _strike(self) -> tuple[Fault, str]:
        fault = self._random.choices(list(self.kinds), weights=list(self.kinds.values()))[0]
        number = self._random.randrange(self.workers)
        call = self._random.choice(_CALLS)
        if fault in _WEATHER:
            operation = "*" if fault is Fault.DOWN else call
            self.iys.order("weather", operation=operation, **_WEATHER[fault])
        elif fault is Fault.DATABASE:
            await asyncio.to_thread(self._lose_database)
        else:
            self._strike_worker(fault, number)
        whom = f"worker {number}" if fault in _OF_WORKERS else call
        return fault, whom

    def _strike_worker(self, fault: Fault, number: int) -> None:
        match fault:
            case Fault.KILL:
                self._house.kill(number)
            case Fault.TERM:
                self._house.thaw(number)
                self._house.running[number].terminate()
            case _:
                if number not in self._house.frozen:
                    self._house.freeze(number)
                    self._thaws.add(asyncio.create_task(self._thaw(number)))

    async def _thaw(self, number: int) -> None:
        await asyncio.sleep(LEASE.total_seconds() * self._random.uniform(0.5, 2))
        self._house.thaw(number)

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
        self.iys.clear_weather()
        self._house.start()
        async with asyncio.timeout(_SETTLES_WITHIN):
            while not await self._is_settled(ledger):
                self._house.start()
                await asyncio.sleep(0.3)

    async def _is_settled(self, ledger: Ledger) -> bool:
        with suppress(LedgerUnavailableError):
            topic = self.settings.topics.decisions.name
            ends = await asyncio.to_thread(committed_ends, self.settings, topic)
            read = await reads.ingested(ledger)
            if any(read.get((topic, number), 0) < end for number, end in ends.items()):
                return False
            # What rescues or İYS's own events would add is the order stage's, which is not here.
            return (await reads.lag(ledger, now=datetime.now(UTC))).is_settled
        return False
