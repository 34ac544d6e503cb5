"""What campaigns share that inject faults one after the other into processes and servers.

Kafka, PostgreSQL and İYS of a campaign's own; the processes that faults hit, which are killed,
frozen and started again; which fault comes when, which follows from a seed; and the check that
decisions, ledger, İYS's register and permissions agree on every key.
Faults of the input: what anybody with the right to write a lane may write there.
"""

import asyncio
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

import typer
from confluent_kafka import KafkaException
from pydantic import SecretStr

from benchmarks.results import RunReport
from izin.consent import Consent
from izin.kafka.clients import ensure_topics
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import LedgerUnavailableError, TopicMessages
from izin.local import Kafka, Postgres, free_port
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.stack.report import DesiredState, FinalState, compare
from izin.stack.scenario import LedgerView, ledger_states, wait_until
from tests.chaos.command import Show, run_stage
from tests.chaos.hostile.records import (
    KINDS,
    RECIPIENTS,
    HostileBatch,
    WrittenBatch,
    hostile_batch,
    leave_open,
)
from tests.chaos.order.brokers import BrokerCluster, Network
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.hostile.batches import UNREADABLE, BatchRefusedError, RawProducer
from tests.support.order.verdict import Coordinates, Worker
from tests.support.registration import register_brand
from tests.support.simulator import SimulatorAdmin, SinkProcesses, running_simulator

BATCHES = 20
"""Of each fault."""


class InputFault(StrEnum):
    """A fault of the input."""

    RECORDS = "hostile records and wild clocks"
    HUGE = "huge records"
    UNREADABLE = "batches that cannot be unpacked"
    OPEN = "transaction of another left open"


INPUT_WEIGHTS: Mapping[InputFault, int] = {
    InputFault.RECORDS: 6,
    InputFault.HUGE: 3,
    InputFault.UNREADABLE: 3,
    InputFault.OPEN: 2,
}
"""How often each comes up in a long campaign, relative to the others."""
_OF: Mapping[InputFault, frozenset[str]] = {
    # Not those that may change the brand: an opt-out of an unknown one is parked, and must be.
    InputFault.RECORDS: frozenset(KINDS) - {"flipped", "counts"},
    InputFault.HUGE: frozenset({"huge", "inflated"}),
    InputFault.UNREADABLE: frozenset(UNREADABLE),
}
"""The kinds of hostile batches that each writes."""


@dataclass(slots=True)
class HostileInput:
    """Writes what is hostile to the lanes, or to two other ``topics``, never the same twice."""

    settings: KafkaSettings
    seed: int
    topics: tuple[str, ...] = ()
    written: list[WrittenBatch] = field(default_factory=list)
    """What the broker stored."""
    _next: int = 0

    def inject(self, fault: InputFault, random: Random) -> str:
        """Inject ``fault`` into a partition of a topic, or into all; return which."""
        partition, own = random.randrange(self.settings.partitions), self.settings.topics
        topics = self.topics or (own.events.name, own.express.name)
        if fault is InputFault.OPEN:
            lane = random.choice(topics)
            leave_open(self.settings, lane, partition)
            return f"{lane}[{partition}]"
        with RawProducer(self.settings) as raw:
            for made in self._batches(fault):
                lane = topics[made.is_express]
                with suppress(BatchRefusedError):
                    first = raw.produce(lane, made.partition, made.data)
                    self.written.append(WrittenBatch.of(made, topic=lane, first=first))
        return "topics" if self.topics else "lanes"

    def places(self, kinds: Collection[str] = ()) -> set[Coordinates]:
        """Return where each record that was written stands: those of ``kinds``, or all."""
        return {
            (one.topic, one.partition, one.first + index)
            for one in self.written
            if not kinds or one.kind in kinds
            for index in range(one.count)
        }

    def _batches(self, fault: InputFault) -> list[HostileBatch]:
        """Return the next batches of ``fault``: fewer where they are large."""
        found, kinds = list[HostileBatch](), sorted(_OF[fault])
        while len(found) < (BATCHES if fault is InputFault.RECORDS else BATCHES // 5):
            made = hostile_batch(self.seed, self._next, self.settings.partitions, kinds=kinds)
            found.append(made)
            self._next += 1
        return found


F = TypeVar("F", bound=str)
T = TypeVar("T")
ORDER, SINK = "order worker", "sink"


@dataclass(slots=True, kw_only=True)
class Victim:
    """A process that faults hit: started again once it has ended, let go once it was held enough.

    `answers` says whether it does its work now, `start` starts it where it does not run.
    """

    name: str
    part: str
    process: Callable[[], subprocess.Popen[bytes]]
    start: Callable[[], None]
    kill: Callable[[], None]
    answers: Callable[[], bool]
    is_up: bool = False
    """Whether it has worked since it was started last, and no fault has hit it since."""
    ends: list[int] = field(default_factory=list)
    """The exit statuses with which it ended by itself after it had worked."""
    _held_until: float = 0.0
    _let_go: Callable[[], None] | None = None
    """Ends what holds it; None: nothing does."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def supervise(self) -> None:
        """Let it go when its time is over; start it where it has ended; note whether it works."""
        with self._lock:
            if self._let_go is not None and time.monotonic() < self._held_until:
                return
            self._release()
            status = self.process().poll()
            if status is not None:
                if self.is_up:
                    self.ends.append(status)
                self.is_up = False
                self.start()
            elif not self.is_up:
                self.is_up = self.answers()

    def be_killed(self) -> None:
        """End by SIGKILL."""
        with self._lock:
            self.is_up = False
            self.kill()
            self._release()

    def be_frozen(self, seconds: float) -> None:
        """Stop amid whatever it does, for at least so many seconds."""
        self.be_held(
            seconds, lambda: self._send(signal.SIGSTOP), lambda: self._send(signal.SIGCONT)
        )

    def be_held(self, seconds: float, hold: Callable[[], None], let_go: Callable[[], None]) -> None:
        """Be held up by ``hold`` for at least so many seconds, until ``let_go``."""
        with self._lock:
            self._release()
            self.is_up = False
            hold()
            self._let_go, self._held_until = let_go, time.monotonic() + seconds

    def release(self) -> None:
        """Let it go at once."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._let_go is not None:
            self._let_go()
            self._let_go = None

    def _send(self, number: signal.Signals) -> None:
        if self.process().poll() is None:
            self.process().send_signal(number)


def victims_of(order: Worker, sinks: SinkProcesses) -> list[Victim]:
    """Return an order worker and each sink."""
    of_sinks = [
        Victim(
            name=f"{SINK}-{number}",
            part=SINK,
            process=lambda number=number: sinks.running[number],
            start=sinks.start,
            kill=lambda number=number: sinks.kill(number),
            answers=lambda number=number: sinks.is_ready(number),
        )
        for number in range(sinks.count)
    ]
    of_order = Victim(
        name=order.name,
        part=ORDER,
        process=lambda: order.process,
        start=order.start,
        kill=order.kill,
        answers=lambda: bool(order.health()["ready"]),
    )
    return [of_order, *of_sinks]


@dataclass(slots=True, kw_only=True)
class Injection(Generic[F]):
    """Injects each kind of fault at least once, if there are enough, then each by its weight."""

    weights: Mapping[F, int]
    pause: tuple[float, float]
    """How many seconds lie between two faults, at least and at most."""
    random: Random
    on_progress: Callable[[str], None] = lambda _: None
    injected: Counter[F] = field(default_factory=Counter)

    async def run(
        self,
        faults: int,
        hit: Callable[[F], Awaitable[str]],
        *,
        meanwhile: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Inject so many faults; ``hit`` injects one, and returns its target.

        ``meanwhile`` is called with the seconds of each pause.
        """
        began = time.monotonic()
        for number, fault in enumerate(self._planned(faults), 1):
            await meanwhile(self.random.uniform(*self.pause))
            target = await hit(fault)
            self.injected[fault] += 1
            at = time.monotonic() - began
            self.on_progress(f"{number}/{faults} {at:7.1f} s  {target:<12} {fault}")

    def _planned(self, faults: int) -> list[F]:
        more = self.random.choices([*self.weights], [*self.weights.values()], k=faults)
        return [*self.weights, *more][:faults]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignServers:
    """How the servers are reached, and what restarts each under the same port."""

    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    folder: Path
    """Of data and logs."""
    restart_broker: Callable[[], None]
    restart_database: Callable[[], None]
    brokers: Sequence[Kafka] = ()
    database: Postgres | None = None
    """Those that it runs itself, for who takes them away."""


@contextmanager
def running_servers(  # which servers, by keyword
    folder: Path,
    *,
    partitions: int,
    network: Network | None = None,
    brokers: int = 1,
    database: type[Postgres] = Postgres,
    **broker: Any,  # noqa: ANN401  # as Kafka takes them
) -> Iterator[CampaignServers]:
    """Run all three, with data in ``folder`` and every topic; ``broker`` is how Kafka's Java is
    run. Over a ``network``, or where there are three ``brokers``, a broker is killed, not stopped;
    over the network it is reached by who can be cut off.
    """
    with (
        _brokers(folder, network, brokers, broker) as (running, restart_broker),
        database(folder, port=free_port()) as postgres,
        running_simulator(folder) as simulator,
    ):
        bootstrap_servers = ",".join(one.bootstrap_servers for one in running)
        settings = KafkaSettings(
            bootstrap_servers=bootstrap_servers, partitions=partitions, replication_factor=brokers
        )
        ensure_topics(settings)

        def restart_database() -> None:
            postgres.stop()
            postgres.start()

        yield CampaignServers(
            settings=settings,
            database_url=postgres.url,
            simulator=simulator,
            folder=folder,
            restart_broker=restart_broker,
            restart_database=restart_database,
            brokers=running,
            database=postgres,
        )


@contextmanager
def _brokers(
    folder: Path, network: Network | None, count: int, options: dict[str, Any]
) -> Iterator[tuple[Sequence[Kafka], Callable[[], None]]]:
    if network is None and count == 1:
        with Kafka(folder, free_port(), **options) as kafka:

            def restart() -> None:
                kafka.stop()
                kafka.start()

            yield [kafka], restart
        return
    with BrokerCluster(folder, count, network) as cluster:
        first, *_ = running = list(cluster.brokers.values())

        def kill() -> None:
            first.kill()
            first.start()

        yield running, kill


class ServerFault(StrEnum):
    """A fault of a server that all processes use."""

    BROKER = "broker restarted"
    DATABASE = "database restarted"


SERVER_WEIGHTS: Mapping[ServerFault, int] = {ServerFault.BROKER: 4, ServerFault.DATABASE: 4}
"""How often each comes up in a long campaign, relative to the others."""

SUPERVISED_EVERY = 0.2
UP_WITHIN = 60.0
_SETTLED_WITHIN = timedelta(minutes=4)
_RESULT_DELAY = 1.0
_FIT_WITHIN = 6.0
"""Seconds in which a process that a fault may hit is waited for."""


@dataclass(slots=True, kw_only=True)
class FaultCampaign:
    """What has servers of its own, a ledger in them, and faults that hit its processes and them."""

    servers: CampaignServers
    seed: int = 1
    pause: tuple[float, float] = (0.6, 1.4)
    """How many seconds lie between two faults, at least and at most."""
    on_progress: Callable[[str], None] = lambda _: None
    injected: Counter[str] = field(default_factory=Counter)

    @property
    def settings(self) -> KafkaSettings:
        """Of the broker."""
        return self.servers.settings

    @property
    def simulator(self) -> SimulatorAdmin:
        """Of İYS."""
        return self.servers.simulator

    def ledger(self, pool_size: int = 1) -> Ledger:
        """Return the ledger, to be opened: again, where its server may have restarted."""
        url = SecretStr(self.servers.database_url)
        return Ledger(LedgerSettings(database_url=url, pool_size=pool_size), owner=1)

    async def inject(
        self,
        faults: int,
        weights: Mapping[F, int],
        hit: Callable[[F, Random], Awaitable[str]],
        *,
        topics: tuple[str, ...] = (),
        meanwhile: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Inject so many faults; see ``Injection``. Those of the servers, ``SERVER_WEIGHTS``, and
        of the input, to the lanes or two other ``topics``, come beside the campaign's ``weights``.
        """
        random, hostile = Random(self.seed), HostileInput(self.settings, self.seed, topics)

        async def hit_any(fault: F | InputFault | ServerFault) -> str:
            if isinstance(fault, InputFault):
                return await asyncio.to_thread(self.hit_input, fault, hostile, random)
            if not isinstance(fault, ServerFault):
                return await hit(fault, random)
            restart = {
                ServerFault.BROKER: self.servers.restart_broker,
                ServerFault.DATABASE: self.servers.restart_database,
            }[fault]
            await asyncio.to_thread(restart)
            return "server"

        injection = Injection[F | InputFault | ServerFault](
            weights={**weights, **SERVER_WEIGHTS, **INPUT_WEIGHTS},
            pause=self.pause,
            random=random,
            on_progress=self.on_progress,
        )
        await injection.run(faults, hit_any, meanwhile=meanwhile)
        self.injected.update(injection.injected)

    def hit_input(self, fault: InputFault, hostile: HostileInput, random: Random) -> str:
        """Inject a fault of the input; return where."""
        return hostile.inject(fault, random)


@dataclass(slots=True, kw_only=True)
class PipelineCampaign(FaultCampaign):
    """The events of one brand pass an order worker and sinks, while faults hit them."""

    rate: float = 8.0
    """Acts of recipients a second."""
    hold: tuple[float, float] = (1.0, 6.0)
    """For how many seconds a process is frozen or cut off, at least and at most."""

    async def prepare(self, **of_simulator: object) -> None:
        """Migrate the ledger, configure the simulator, and register the brand."""
        await migrate(self.servers.database_url)
        await self.configure(**of_simulator)

    async def configure(self, **of_simulator: object) -> None:
        """Configure the simulator, and register the brand."""
        self.simulator.configure(
            requestsPerSecond=10,
            requestWindow="sliding",
            resultDelay=_RESULT_DELAY,
            **of_simulator,
        )
        async with self.ledger() as ledger:
            messages = TopicMessages(Codec(), self.settings.topics)
            await register_brand(ledger, messages, ACTIVE, by="test", now=datetime.now(UTC))

    @contextmanager
    def workers(self, **of_sinks: Any) -> Iterator[list[Victim]]:  # noqa: ANN401  # a field's value each
        """Run an order worker and sinks; yield them as what faults hit."""
        sinks = SinkProcesses(
            settings=self.settings,
            database_url=self.servers.database_url,
            simulator=self.simulator,
            log=self.servers.folder / "sinks.log",
            result_delay=_RESULT_DELAY,
            **of_sinks,
        )
        with Worker("order", self.settings, self.servers.folder / "order.log") as order:
            hit = victims_of(order, sinks)
            try:
                sinks.start()
                yield hit
            finally:
                for one in hit:
                    one.release()
                sinks.end()

    async def victim(self, hit: Sequence[Victim], part: str, random: Random) -> Victim:
        """Return a process of ``part`` that does its work, or any, where none does for long."""
        some = [one for one in hit if one.part == part]
        # One that has just been started does nothing that a fault could spoil; but not for ever.
        with suppress(TimeoutError):
            await until(lambda: any(one.is_up for one in some), _FIT_WITHIN, what="a victim")
        return random.choice([one for one in some if one.is_up] or some)

    def settle(self, holds: Callable[[LedgerView], bool]) -> None:
        """Return once ``holds``; what cannot be read just after a restart is read again.

        Raises:
            StageFailedError: it does not, for minutes.
        """
        self.on_progress("settling")
        with LedgerView(self.servers.database_url, self.settings, Codec()) as view:

            def is_settled() -> bool:
                try:
                    return holds(view)
                except (BrokerError, KafkaException, LedgerUnavailableError):
                    return False

            wait_until(is_settled, "everything is done", within=_SETTLED_WITHIN)


async def supervise(hit: Sequence[Victim]) -> None:
    """Start what has ended and let go what was held, until cancelled."""
    while True:
        for one in hit:
            await asyncio.to_thread(one.supervise)
        await asyncio.sleep(SUPERVISED_EVERY)


async def until(holds: Callable[[], bool], within: float, *, what: str) -> None:
    """Return when ``holds()``; raise TimeoutError after so many seconds."""
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"in {within:.0f} s there was no {what}")
        await asyncio.sleep(0.05)


async def once(read: Callable[[], Awaitable[T | None]], within: float) -> T:
    """Return what ``read`` returns, as soon as that is something; raise TimeoutError after long."""
    async with asyncio.timeout(within):
        while True:
            found = await read()
            if found:
                return found
            await asyncio.sleep(0.2)


def ended(hit: Sequence[Victim]) -> list[str]:
    """Return which processes ended by themselves."""
    return [f"{one.name} ended with {one.ends}" for one in hit if one.ends]


async def differences(
    ledger: Ledger,
    states: Mapping[str, Consent],
    register: Mapping[str, str],
    permitted: Mapping[str, bool],
    *,
    also: Collection[FinalState] = (),
) -> list[str]:
    """Return where ``states``, the ledger, ``register`` and ``permitted`` differ on a key.

    ``also``: how a key may end beside being registered, or being an opt-out that İYS needs not.
    Hostile records' own keys are left out, but for what İYS has of them.
    """
    states_here = await ledger_states(ledger)
    kept = {key: one for key, one in states_here.items() if f"/{RECIPIENTS}" not in key}
    desired = {
        key: DesiredState(one.status, one.event_id)
        for key, one in states.items()
        if f"/{RECIPIENTS}" not in key
    }
    found = compare(desired, kept, register, permitted)
    fine = {FinalState.REGISTERED, FinalState.LOCAL_ONLY, *also}
    return [f"{one.key}: {one.what}" for one in found.differences] + [
        f"{count} keys {end}" for end, count in found.final_states.items() if end not in fine
    ]


def run_under_faults(
    stage: str,
    folder: Path,
    campaign: Callable[[CampaignServers, Show], Any],
    report: Callable[..., RunReport],
    *,
    faults: int,
    partitions: int,
    network: Network | None = None,
) -> typer.Exit:
    """Run the ``campaign`` of a stage on servers of its own, and conclude it; ``report`` gets it,
    the verdict of its ``run(faults)``, and how many ``seconds`` that took.
    """

    def run(show: Show) -> tuple[Any, Any]:
        with running_servers(folder, partitions=partitions, network=network) as servers:
            made = campaign(servers, show)
            return made, asyncio.run(made.run(faults))

    return run_stage(
        stage, folder, run, lambda done, seconds: report(*done, seconds=seconds), in_lines=True
    )
