"""The campaign: citizens opt in and out at İYS, and faults fall on all that brings it to us."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException
from pydantic import SecretStr

from izin.demo.ledger import LedgerView
from izin.demo.progress import wait_until
from izin.local import free_port
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.messages import TopicMessages
from tests.chaos.gate.faults import ORDER, SINK, Victim
from tests.chaos.gate.processes import running_order_worker, running_sink
from tests.chaos.inbound.faults import AT_IYS, CALLS, WEIGHTS, InboundFault
from tests.chaos.inbound.verdict import (
    InboundVerdict,
    expected_events,
    judge,
    recorded_facts,
    registered,
)
from tests.integration.sinks.sink_harness import ACTIVE, a_phone
from tests.support.builders import BRAND
from tests.support.order.workers import Worker
from tests.support.registration import register_brand
from tests.support.simulator import SimulatorAdmin, a_change
from tests.support.sink_processes import SinkProcesses

SINKS = 2
"""Each is a receiver of its own at İYS: as many as İYS allows."""
_HIDDEN = 3.0
_UP_WITHIN = 60.0
_SETTLED_WITHIN = timedelta(minutes=4)
_SUPERVISED_EVERY = 0.2
_RESULT_DELAY = 1.0
_APART = 2.5
"""Seconds between two acts of one citizen: in one second İYS's register does not order them."""


@dataclass(slots=True, kw_only=True)
class InboundCampaign:
    """Citizens, faults, and at the end a comparison of İYS, history and ledger."""

    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    folder: Path
    """Of the logs."""
    seed: int = 1
    citizens: int = 300
    rate: float = 20.0
    """Acts a second."""
    pause: tuple[float, float] = (0.6, 1.4)
    """How many seconds lie between two faults, at least and at most."""
    hold: tuple[float, float] = (1.0, 6.0)
    """For how many seconds a process is frozen, at least and at most."""
    restart_broker: Callable[[], None] | None = None
    restart_database: Callable[[], None] | None = None
    on_progress: Callable[[str], None] = lambda _: None
    injected: Counter[InboundFault] = field(default_factory=Counter)
    acts: int = 0

    async def run(self, faults: int) -> InboundVerdict:
        """Inject so many faults, let everything settle, and judge."""
        await migrate(self.database_url)
        self._configure_simulator()
        async with self._ledger() as ledger:
            messages = TopicMessages(Codec(), self.settings.topics)
            await register_brand(ledger, messages, ACTIVE, by="test", now=datetime.now(UTC))
        with self._processes() as hit:
            await self._under_faults(faults, hit)
            self.on_progress("settling")
            await asyncio.to_thread(self._settle, hit)
        self.on_progress("comparing")
        rows = list(self.simulator.rows("movements"))
        async with self._ledger() as ledger:  # a new one: its server may have restarted
            return judge(
                expected_events(rows, ACTIVE, datetime.now(UTC)),
                await recorded_facts(ledger),
                await registered(ledger),
                {
                    f"{BRAND}/MESAJ/BIREYSEL/{recipient}": status
                    for recipient, status in self.simulator.register().items()
                },
                failed=[f"{one.name} ended with {one.ends}" for one in hit if one.ends],
            )

    def _ledger(self) -> Ledger:
        url = SecretStr(self.database_url)
        return Ledger(LedgerSettings(database_url=url, pool_size=1), owner=1)

    def _configure_simulator(self) -> None:
        self.simulator.configure(
            requestsPerSecond=10,
            requestWindow="sliding",
            tokenLimit=100,
            statusLimit=1_000_000,
            resultDelay=_RESULT_DELAY,
            hiddenWindow=_HIDDEN,
            pushHttpsRequired=False,
        )

    @contextmanager
    def _processes(self) -> Iterator[list[Victim]]:
        """Run all processes; yield what faults may hit."""
        ports = {number: (free_port(), free_port()) for number in range(SINKS)}
        sinks = SinkProcesses(
            count=SINKS,
            settings=self.settings,
            database_url=self.database_url,
            simulator=self.simulator,
            log=self.folder / "sinks.log",
            result_delay=_RESULT_DELAY,
            ports=ports,
            keeps_ports=True,
            environment={
                "IZIN_PUSH_USERNAME": "iys",
                "IZIN_PUSH_PASSWORD": "a-fake-push-password",
                "IYS_HIDDEN_WINDOW": f"PT{_HIDDEN}S",
            },
            environments={
                number: {"IZIN_PUSH_URL": f"http://127.0.0.1:{port}/iys/push"}
                for number, (port, _) in ports.items()
            },
        )
        with running_order_worker(self.settings, self.folder) as order, running_sink(sinks):
            hit = victims(order, sinks)
            try:
                yield hit
            finally:
                for one in hit:
                    one.release()

    async def _under_faults(self, faults: int, hit: Sequence[Victim]) -> None:
        """Have citizens act while so many faults are injected."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_supervise(hit))
            async with asyncio.timeout(_UP_WITHIN):
                while not all(one.is_up for one in hit):  # noqa: ASYNC110  # other processes
                    await asyncio.sleep(_SUPERVISED_EVERY)
                await asyncio.to_thread(self._await_registrations)
            acting = tasks.create_task(self._act())
            await self._inject(faults, hit)
            acting.cancel()
            watch.cancel()

    def _await_registrations(self) -> None:
        """Return once İYS pushes to each receiver; raises TimeoutError."""
        within = timedelta(seconds=_UP_WITHIN)
        wait_until(
            lambda: self.simulator.calls("pushRegister") >= SINKS * 3,
            within=within,
            what="a registration of each receiver",
        )

    async def _act(self) -> None:
        """Have citizens opt in and out, in turn, until cancelled."""
        random, began = Random(self.seed), time.monotonic()
        acted: dict[int, float] = {}
        while True:
            await asyncio.sleep(max(began + self.acts / self.rate - time.monotonic(), 0))
            number, now = random.randrange(self.citizens), time.monotonic()
            if now - acted.get(number, 0) < _APART:
                await asyncio.sleep(1 / self.rate)
                continue
            acted[number] = now
            change = a_change(random.choice(["RET", "RET", "ONAY"]), a_phone(number))
            await asyncio.to_thread(self.simulator.post, "citizen", movements=[change])
            self.acts += 1

    async def _inject(self, faults: int, hit: Sequence[Victim]) -> None:
        kinds = dict(WEIGHTS)
        if self.restart_broker is None:
            del kinds[InboundFault.BROKER]
        if self.restart_database is None:
            del kinds[InboundFault.DATABASE]
        random = Random(self.seed)
        # Each kind at least once, then by its weight.
        planned = [*kinds, *random.choices([*kinds], [*kinds.values()], k=faults)][:faults]
        began = time.monotonic()
        for number, fault in enumerate(planned, 1):
            await asyncio.sleep(random.uniform(*self.pause))
            target = await asyncio.to_thread(self._fault, fault, hit, random)
            self.injected[fault] += 1
            at = time.monotonic() - began
            self.on_progress(f"{number}/{faults} {at:7.1f} s  {target:<12} {fault}")

    def _fault(self, fault: InboundFault, hit: Sequence[Victim], random: Random) -> str:
        """Inject a fault; return what it hit."""
        if fault in AT_IYS:
            self.simulator.inject_fault(**AT_IYS[fault], times=CALLS)  # type: ignore[arg-type]  # its fields
            return "İYS"
        if fault is InboundFault.BROKER and self.restart_broker is not None:
            self.restart_broker()
            return "broker"
        if fault is InboundFault.DATABASE and self.restart_database is not None:
            self.restart_database()
            return "database"
        part = ORDER if fault is InboundFault.KILL_ORDER else SINK
        some = [one for one in hit if one.part == part]
        victim = random.choice([one for one in some if one.is_up] or some)
        if fault is InboundFault.FREEZE_SINK:
            victim.be_frozen(random.uniform(*self.hold))
        else:
            victim.be_killed()
        return victim.name

    def _settle(self, hit: Sequence[Victim]) -> None:
        """Return once everything that citizens did was pulled, ordered and recorded."""
        self.simulator.clear_faults()
        until = datetime.now(UTC) + timedelta(seconds=_HIDDEN + 1)
        with LedgerView(self.database_url, self.settings, Codec()) as view:

            def is_settled() -> bool:
                for one in hit:
                    one.supervise()
                try:
                    return _pulled_since(self.database_url, until) and view.behind() == 0
                except (BrokerError, KafkaException, LedgerUnavailableError):
                    return False  # just after a restart

            wait_until(is_settled, within=_SETTLED_WITHIN, what="everything is recorded")


def _pulled_since(database_url: str, until: datetime) -> bool:
    """Return whether both streams were read to their ends since an instant."""

    async def oldest() -> datetime | None:
        url = SecretStr(database_url)
        async with Ledger(LedgerSettings(database_url=url, pool_size=1), owner=1) as ledger:
            rows = await ledger.fetch("SELECT min(last_pulled_at) AS oldest FROM stream_cursors")
            found: datetime | None = rows[0]["oldest"]
            return found

    found = asyncio.run(oldest())
    return found is not None and found > until


async def _supervise(hit: Sequence[Victim]) -> None:
    """Start what has ended and let go what was held, until cancelled."""
    while True:
        for one in hit:
            await asyncio.to_thread(one.supervise)
        await asyncio.sleep(_SUPERVISED_EVERY)


def victims(order: Worker, sinks: SinkProcesses) -> list[Victim]:
    """Return what faults may hit: the order worker and each sink."""
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
    return [
        Victim(
            name=order.name,
            part=ORDER,
            process=lambda: order.process,
            start=order.start,
            kill=order.kill,
            answers=lambda: bool(order.health()["ready"]),
        ),
        *of_sinks,
    ]
