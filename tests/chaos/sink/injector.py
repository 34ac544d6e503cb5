"""Inject one fault after the other into sink processes and what is around them.

Around them are their networks, PostgreSQL and calls, the lanes and decisions that they read, and
the disk of their anchors.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg

from izin.kafka import clients
from izin.ledger.db import Ledger
from izin.ledger.history import verify
from izin.runtime.settings import KafkaSettings
from tests.chaos.hostile.records import leave_open
from tests.chaos.pipeline import HostileInput, InputFault
from tests.chaos.sink.decision_source import DecisionSource
from tests.chaos.sink.verdict import DATABASE, DECISIONS, IYS, Interval, Outages
from tests.support.hostile.small_disk import SmallDisk
from tests.support.proxy import Proxy
from tests.support.published import delete_topics
from tests.support.simulator import SimulatorAdmin, SinkProcesses
from tests.support.skewed_process import JUMPS, MOST_SKEW

JUNK = 200
"""How many records a flood of junk has."""
_WATCHED_EVERY = 0.2
_ENDED = "ended"
ANCHORED_EVERY = 0.5
"""Seconds between two anchors of the history."""
WILD = 20
"""How many decisions with wild clocks are written at once."""
_FULL = 3.0
"""Seconds for which the disk is full."""
_LOOKS = 0.2
_HELD_BACK = "transaction left open"


class SinkFault(StrEnum):
    """The faults of the campaign."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    FREEZE = "frozen, then a zombie"
    OWNER = "owner of a lease frozen"
    CLOCK = "clock set ten minutes wrong"
    SILENT_DATABASE = "silent network to PostgreSQL"
    SILENT_IYS = "silent network to İYS"
    DATABASE = "every connection to PostgreSQL lost"
    LOST_AFTER = "reply lost after its effect"
    LOST_BEFORE = "call lost before its effect"
    BUSY = "İYS busy"
    SLOW = "İYS slower than its deadline"
    DOWN = "İYS down"
    JUNK = "flood of junk among the decisions"
    RECORDS = InputFault.RECORDS.value
    HUGE = InputFault.HUGE.value
    UNREADABLE = InputFault.UNREADABLE.value
    OPEN = InputFault.OPEN.value
    LANES = "lanes created again"
    WILD = "decisions with wild clocks"
    HELD_BACK = "transaction left open among the decisions"
    DISK = "disk of the anchors full"


WEIGHTS: Mapping[SinkFault, int] = {
    SinkFault.KILL: 6,
    SinkFault.TERM: 2,
    SinkFault.FREEZE: 4,
    SinkFault.OWNER: 3,
    SinkFault.CLOCK: 4,
    SinkFault.SILENT_DATABASE: 3,
    SinkFault.SILENT_IYS: 3,
    SinkFault.DATABASE: 2,
    SinkFault.LOST_AFTER: 6,
    SinkFault.LOST_BEFORE: 3,
    SinkFault.BUSY: 3,
    SinkFault.SLOW: 2,
    SinkFault.DOWN: 1,
    SinkFault.JUNK: 1,
    SinkFault.RECORDS: 2,
    SinkFault.HUGE: 1,
    SinkFault.UNREADABLE: 1,
    SinkFault.OPEN: 1,
    SinkFault.LANES: 2,
    SinkFault.WILD: 2,
    SinkFault.HELD_BACK: 2,
    SinkFault.DISK: 2,
}
RESTARTS: Mapping[SinkFault, int] = {SinkFault.KILL: 2, SinkFault.TERM: 1}
"""Nothing but processes that end and come back."""
HELD = frozenset(
    {SinkFault.FREEZE, SinkFault.OWNER, SinkFault.SILENT_DATABASE, SinkFault.SILENT_IYS}
)
"""Faults that hold a worker up for a while."""
OF_LANES = frozenset({SinkFault.RECORDS, SinkFault.HUGE, SinkFault.UNREADABLE, SinkFault.OPEN})
"""Faults of what sinks read beside the decisions."""
SURROUNDING = OF_LANES | {
    SinkFault.LANES,
    SinkFault.WILD,
    SinkFault.HELD_BACK,
    SinkFault.DISK,
}
OF_WORKERS = HELD | {SinkFault.KILL, SinkFault.TERM, SinkFault.CLOCK}
CALLS = ("addV2", "batchV2", "resultV2", "status", "statuses")
"""The operations whose calls fail."""


def simulator_rule(fault: SinkFault, *, timeout: float, outage: float) -> Mapping[str, object]:
    """Return the rule of the simulator for a fault of a call; durations in seconds."""
    rules: Mapping[SinkFault, Mapping[str, object]] = {
        SinkFault.LOST_AFTER: {"drop": "after"},
        SinkFault.LOST_BEFORE: {"drop": "before"},
        SinkFault.BUSY: {"status": 400, "code": "H123", "times": 2},
        SinkFault.SLOW: {"slowSeconds": 1.5 * timeout},
        SinkFault.DOWN: {"status": 503, "code": "H192", "lasts": outage},
    }
    return rules[fault]


def last(fault: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
    """Let a fault go on by itself, as one of ``tasks`` until it is over."""
    task = asyncio.create_task(fault)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


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
        clients.ensure_topics(self.settings)
        return "lanes"

    async def unanchored(self, ledger: Ledger) -> int:
        """Return how many anchors the file lacks."""
        if self.disk is None:
            return 0
        known = {one.id for one in await asyncio.to_thread(verify.read_anchors, self.disk.anchors)}
        return len({one.id for one in await verify.anchors_after(ledger, 0)} - known)

    def _write_to_lanes(self) -> None:
        producer, topics = clients.producer(self.settings), self.settings.topics
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
        first = (await asyncio.to_thread(clients.committed_ends, self.settings, topic))[number]

        async def until_read() -> None:
            while True:
                ends = await asyncio.to_thread(clients.committed_ends, self.settings, topic)
                if ends[number] > first:
                    break
                await asyncio.sleep(_LOOKS)
            self.outages.end(DECISIONS, _HELD_BACK)

        last(until_read(), self._tasks)
        return f"{topic}[{number}]"

    async def _fill(self) -> str:
        disk = self.disk
        assert disk is not None
        await asyncio.to_thread(disk.fill)

        async def until_cleared() -> None:
            await asyncio.sleep(_FULL)
            disk.clear()

        last(until_cleared(), self._tasks)
        return "anchors"


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
    restart_database: Callable[[], None]
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
        junk = [
            *(self.random.randbytes(40) for _ in range(JUNK)),
            *map(self.source.poisonous, range(JUNK)),
        ]
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
        last(until_over(), self._tasks)

    async def _lose_database(self) -> None:
        self.outages.begin(DATABASE, _ENDED)
        await asyncio.to_thread(self.restart_database)
        self.outages.end(DATABASE, _ENDED)


def worker_name(number: int) -> str:
    """Return the name of a worker among the parts that can be away."""
    return f"worker {number}"
