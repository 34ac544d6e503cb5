"""Inject one fault after the other into sink processes, their networks, PostgreSQL and calls."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psycopg

from tests.chaos.sink.decision_source import DecisionSource
from tests.chaos.sink.faults import (
    CALLS,
    HELD,
    OF_WORKERS,
    SURROUNDING,
    SinkFault,
    simulator_rule,
)
from tests.chaos.sink.outages import DATABASE, IYS, Interval, Outages
from tests.chaos.sink.surroundings import Surroundings
from tests.support.proxy import Proxy
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses
from tests.support.skewed_process import JUMPS, MOST_SKEW

JUNK = 200
"""How many records a flood of junk has."""
_WATCHED_EVERY = 0.2
_ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNetwork:
    """The proxies between one worker and its servers."""

    database: Proxy
    iys: Proxy


@dataclass(kw_only=True)
class Injector:
    """Injects faults; ``held`` workers are frozen or cut off, and one at least never is."""

    sinks: SinkProcesses
    networks: list[WorkerNetwork]
    database_url: str
    simulator: SimulatorAdmin
    source: DecisionSource
    outages: Outages
    kinds: Mapping[SinkFault, int]
    hold: tuple[float, float]
    """For how many seconds a worker is held up, at least and at most."""
    surroundings: Surroundings
    restart_database: Callable[[], None] | None
    random: random.Random
    held: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: set[int] = set()
        self._first = [kind for kind, weight in self.kinds.items() if weight]
        self.random.shuffle(self._first)

    async def watch(self) -> None:
        """Start what has ended, and note when it works again, until cancelled."""
        while True:
            self.start()
            await asyncio.sleep(_WATCHED_EVERY)

    def start(self) -> None:
        """Start what has ended, and note what works again."""
        self.sinks.start()
        for number in range(self.sinks.count):
            if self.sinks.is_ready(number):
                self.outages.end(worker_name(number), _ENDED)
            else:
                self.outages.begin(worker_name(number), _ENDED)

    async def inject(self) -> tuple[SinkFault, str]:
        """Inject a fault, each kind once before any comes again; return it and its target."""
        while True:
            fault = self._first[-1] if self._first else self._any()
            target = await self._try(fault)
            if target is not None:
                self._first = self._first[:-1]
                return fault, target
            await asyncio.sleep(_WATCHED_EVERY)
            self.random.shuffle(self._first)

    async def release(self) -> None:
        """Return when no worker is held up any more, nor anything around them."""
        await asyncio.gather(*self._tasks)
        await self.surroundings.settle()

    def _any(self) -> SinkFault:
        return self.random.choices(list(self.kinds), weights=list(self.kinds.values()))[0]

    async def _try(self, fault: SinkFault) -> str | None:
        """Inject ``fault``; return its target, None where there is none now."""
        if fault in OF_WORKERS:
            number = await self._worker_for(fault)
            if number is None:
                return None
            self._inject_into_worker(fault, number)
            return worker_name(number)
        if fault in SURROUNDING:
            return await self.surroundings.inject(fault)
        if fault is SinkFault.DATABASE:
            await self._lose_database()
            return DATABASE
        if fault is SinkFault.JUNK:
            return await self._flood()
        call = "*" if fault is SinkFault.DOWN else self.random.choice(CALLS)
        outage = self.hold[0] * self.random.uniform(1, 2)
        rule = simulator_rule(fault, timeout=self.sinks.timeout.total_seconds(), outage=outage)
        if fault is SinkFault.DOWN:
            self.outages.add(IYS, Interval(time.time(), time.time() + outage))
        await asyncio.to_thread(self.simulator.post, "faults", operation=call, **rule)
        return call

    async def _flood(self) -> str:
        junk = [self.random.randbytes(40) for _ in range(JUNK)]
        junk += [self.source.poisonous(number) for number in range(JUNK)]
        await asyncio.to_thread(self.source.publish_junk, junk)
        return self.source.topic

    async def _worker_for(self, fault: SinkFault) -> int | None:
        """Return the worker that ``fault`` concerns; None: there is none that can have it now."""
        if fault in HELD and len(self.held) >= max(1, self.sinks.count - 2):
            return None
        number = await self._owner() if fault is SinkFault.OWNER else None
        if number is None:
            number = self.random.randrange(self.sinks.count)
        is_fit = fault in {SinkFault.KILL, SinkFault.TERM} or (
            number not in self.held and self.sinks.is_ready(number)
        )
        return number if is_fit else None

    async def _owner(self) -> int | None:
        """Return the worker that owns the lease of ingesting; None while nobody can be asked."""
        try:
            ports = await asyncio.to_thread(self._ports_of_owner)
        except psycopg.Error:
            return None
        for number, network in enumerate(self.networks):
            if network.database.ports & ports:
                return number
        return None

    def _ports_of_owner(self) -> set[int]:
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=2) as connection:
            found = connection.execute(
                "SELECT a.client_port FROM leases AS l JOIN pg_stat_activity AS a "
                "ON a.application_name = 'izin-' || l.owner WHERE l.name = 'ingest'"
            )
            return {port for (port,) in found}

    def _inject_into_worker(self, fault: SinkFault, number: int) -> None:
        network = self.networks[number]
        match fault:
            case SinkFault.KILL:
                self.sinks.kill(number)
                self._note_end(number)
            case SinkFault.TERM:
                self.sinks.terminate(number)
                self._note_end(number)
            case SinkFault.CLOCK:
                self.sinks.jump(number, self.random.choice(list(JUMPS)))
            case SinkFault.SILENT_DATABASE:
                self._hold(fault, number, network.database.silence, network.database.resume)
            case SinkFault.SILENT_IYS:
                self._hold(fault, number, network.iys.silence, network.iys.resume)
            case _:
                self._hold(
                    fault,
                    number,
                    lambda: self.sinks.freeze(number),
                    lambda: self.sinks.thaw(number),
                )

    def _note_end(self, number: int) -> None:
        """Note that one ended; the next one starts with another wrong clock."""
        self.outages.begin(worker_name(number), _ENDED)
        for fault in (SinkFault.FREEZE, SinkFault.OWNER):
            self.outages.end(worker_name(number), fault)
        self.sinks.skews[number] = self.random.uniform(-MOST_SKEW, MOST_SKEW)

    def _hold(
        self,
        fault: SinkFault,
        number: int,
        begin: Callable[[], None],
        end: Callable[[], None],
    ) -> None:
        least, most = self.hold
        seconds = self.random.uniform(least, most)

        async def until_over() -> None:
            await asyncio.sleep(seconds)
            end()
            self.outages.end(worker_name(number), fault)
            self.held.discard(number)

        begin()
        self.outages.begin(worker_name(number), fault)
        self.held.add(number)
        task = asyncio.create_task(until_over())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lose_database(self) -> None:
        self.outages.begin(DATABASE, _ENDED)
        await asyncio.to_thread(self.restart_database or self._end_sessions)
        self.outages.end(DATABASE, _ENDED)

    def _end_sessions(self) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


def worker_name(number: int) -> str:
    """Return the name of a worker among the parts that can be away."""
    return f"worker {number}"
