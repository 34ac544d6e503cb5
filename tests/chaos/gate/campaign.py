"""The campaign: recipients opt in and out, senders ask two gates, and faults fall on all of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException
from pydantic import SecretStr

from izin.console.read_topic import read_all
from izin.demo.ledger import LedgerView
from izin.demo.progress import wait_until
from izin.runtime.errors import BrokerError
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.migrate import migrate
from izin.sinks.record.errors import LedgerUnavailableError
from izin.sinks.record.messages import TopicMessages
from tests.chaos.gate.askers import Answer, Asker
from tests.chaos.gate.faults import KILLS, PARTS, WEIGHTS, GateFault, Victim
from tests.chaos.gate.processes import running_gates, running_order_worker, running_sink, victims
from tests.chaos.gate.traffic import PublishedEvent, Traffic
from tests.chaos.gate.verdict import MARGIN, Evidence, GateVerdict, disagreements, judge
from tests.chaos.order.network import Network
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.api_keys import an_api_key, publish_key
from tests.support.registration import register_brand
from tests.support.simulator import SimulatorAdmin
from tests.support.sink_processes import SinkProcesses

_UP_WITHIN = 60.0
_FIT_WITHIN = 6.0
"""Seconds in which a process that a fault may hit is waited for."""
_SETTLED_WITHIN = timedelta(minutes=4)
_AGREED_WITHIN = 30.0
_SUPERVISED_EVERY = 0.2
_RESULT_DELAY = 1.0


@dataclass(slots=True, kw_only=True)
class GateCampaign:
    """Recipients, senders, faults, and at the end a comparison of every yes with what is known."""

    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    folder: Path
    """Of the logs."""
    seed: int = 1
    recipients: int = 300
    refused: int = 30
    """Recipients more, whose consents İYS refuses."""
    rate: float = 8.0
    """Events a second."""
    pause: tuple[float, float] = (0.6, 1.4)
    """How many seconds lie between two faults, at least and at most."""
    hold: tuple[float, float] = (1.0, 6.0)
    """For how many seconds a process is frozen or cut off, at least and at most."""
    stale_after: timedelta = timedelta(seconds=2)
    network: Network | None = None
    """Between the gates and the broker, where they can be cut off."""
    restart_broker: Callable[[], None] | None = None
    restart_database: Callable[[], None] | None = None
    on_progress: Callable[[str], None] = lambda _: None
    injected: Counter[GateFault] = field(default_factory=Counter)

    async def run(self, faults: int) -> GateVerdict:
        """Inject so many faults, let everything settle, and judge."""
        await migrate(self.database_url)
        self._configure_simulator()
        key = an_api_key(scopes=frozenset({Scope.ASK.value}))
        await asyncio.to_thread(publish_key, self.settings, key)
        async with self._ledger() as ledger:
            messages = TopicMessages(Codec(), self.settings.topics)
            await register_brand(ledger, messages, ACTIVE, by="test", now=datetime.now(UTC))
        with self._processes() as (urls, hit):
            evidence = await self._under_faults(faults, urls, hit)
        self.on_progress("comparing")
        known_within = self.stale_after.total_seconds() + MARGIN
        async with self._ledger() as ledger:  # a new one: its server may have restarted
            return await judge(evidence, ledger, known_within=known_within)

    def _ledger(self) -> Ledger:
        url = SecretStr(self.database_url)
        return Ledger(LedgerSettings(database_url=url, pool_size=1), owner=1)

    def _configure_simulator(self) -> None:
        self.simulator.configure(
            requestsPerSecond=10,
            requestWindow="sliding",
            tokenLimit=10,
            statusLimit=1000,
            resultDelay=_RESULT_DELAY,
            hiddenWindow=0,
            phoneCheck="valid",
        )

    @contextmanager
    def _processes(self) -> Iterator[tuple[dict[str, str], list[Victim]]]:
        """Run all processes; yield the URLs of the gates, and what faults may hit."""
        sinks = SinkProcesses(
            count=1,
            settings=self.settings,
            database_url=self.database_url,
            simulator=self.simulator,
            log=self.folder / "sink.log",
            result_delay=_RESULT_DELAY,
        )
        with (
            running_order_worker(self.settings, self.folder) as order,
            running_sink(sinks),
            running_gates(
                self.settings, self.network, self.folder, stale_after=self.stale_after
            ) as gates,
        ):
            hit = victims(gates, order, sinks)
            try:
                yield {one.name: one.url for one in gates}, hit
            finally:
                for one in hit:
                    one.release()

    async def _under_faults(self, faults: int, urls: dict[str, str], hit: list[Victim]) -> Evidence:
        """Inject so many faults, and return what there is once everything has settled."""
        traffic = self._traffic()
        await asyncio.to_thread(traffic.begin)
        askers = [
            Asker(
                gate=gate,
                url=url,
                keys=sorted(traffic.events),
                permitted=traffic.permitted,
                random=Random(f"{self.seed} {gate}"),
            )
            for gate, url in urls.items()
        ]
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_supervise(hit))
            asking = [tasks.create_task(one.run()) for one in askers]
            await _until(
                lambda: bool(traffic.permitted) and all(one.is_up for one in hit),
                _UP_WITHIN,
                what="a yes before the faults",
            )
            publishing = tasks.create_task(traffic.run(lambda one: _ask_about(askers, one)))
            await self._inject(faults, hit)
            traffic.is_over = True
            await publishing
            under_faults = sum(len(one.yes) for one in askers)
            self.on_progress("settling")
            permissions = await asyncio.to_thread(self._settle, traffic)
            gates = await _agreed(askers, permissions)
            for one in askers:
                one.is_over = True
            await asyncio.gather(*asking)
            watch.cancel()
        failed = [f"{one.name} ended with {one.ends}" for one in hit if one.ends]
        if not under_faults:
            failed.append("no gate said yes to anybody while faults were injected")
        return Evidence(
            settings=self.settings,
            simulator=self.simulator,
            traffic=traffic,
            askers=askers,
            gates=gates,
            permissions=permissions,
            failed=failed,
        )

    def _traffic(self) -> Traffic:
        return Traffic(
            settings=self.settings,
            random=Random(self.seed),
            recipients=self.recipients,
            refused_recipients=self.refused,
            rate=self.rate,
        )

    async def _inject(self, faults: int, hit: list[Victim]) -> None:
        kinds = dict(WEIGHTS)
        if self.network is None:
            del kinds[GateFault.CUT_OFF_GATE]
        if self.restart_broker is None:
            del kinds[GateFault.BROKER]
        if self.restart_database is None:
            del kinds[GateFault.DATABASE]
        random = Random(self.seed)
        # Each kind at least once, then by its weight.
        planned = [*kinds, *random.choices([*kinds], [*kinds.values()], k=faults)][:faults]
        began = time.monotonic()
        for number, fault in enumerate(planned, 1):
            await asyncio.sleep(random.uniform(*self.pause))
            target = await self._fault(fault, hit, random)
            self.injected[fault] += 1
            at = time.monotonic() - began
            self.on_progress(f"{number}/{faults} {at:7.1f} s  {target:<12} {fault}")

    async def _fault(self, fault: GateFault, hit: list[Victim], random: Random) -> str:
        """Inject a fault; return what it hit."""
        if fault is GateFault.BROKER and self.restart_broker is not None:
            await asyncio.to_thread(self.restart_broker)
            return "broker"
        if fault is GateFault.DATABASE and self.restart_database is not None:
            await asyncio.to_thread(self.restart_database)
            return "database"
        some = [one for one in hit if one.part == PARTS[fault]]
        # One that has just been started does nothing that a fault could spoil; but not for ever.
        with suppress(TimeoutError):
            await _until(lambda: any(one.is_up for one in some), _FIT_WITHIN, what="a victim")
        victim = random.choice([one for one in some if one.is_up] or some)
        seconds = random.uniform(*self.hold)
        if fault in KILLS:
            await asyncio.to_thread(victim.be_killed)
        elif fault is GateFault.CUT_OFF_GATE and self.network is not None:
            silence, resume = (
                partial(one, worker=victim.name)
                for one in (self.network.silence, self.network.resume)
            )
            await asyncio.to_thread(victim.be_held, seconds, silence, resume)
        else:
            await asyncio.to_thread(victim.be_frozen, seconds)
        return victim.name

    def _settle(self, traffic: Traffic) -> dict[str, Answer]:
        """Have recipients do the last they do; return the permissions once everything is done."""
        traffic.finish()
        with LedgerView(self.database_url, self.settings, Codec()) as view:

            def is_settled() -> bool:
                try:
                    return view.behind() == 0 and view.lag().is_settled
                except (BrokerError, KafkaException, LedgerUnavailableError):
                    return False  # just after a restart

            wait_until(is_settled, within=_SETTLED_WITHIN, what="everything is registered")
        return {
            one.key: Answer(one.value["may_send"], one.value["reason"])
            for one in read_all(self.settings, Codec(), self.settings.topics.permissions)
        }


async def _supervise(hit: list[Victim]) -> None:
    """Start what has ended and let go what was held, until cancelled."""
    while True:
        for one in hit:
            await asyncio.to_thread(one.supervise)
        await asyncio.sleep(_SUPERVISED_EVERY)


def _ask_about(askers: list[Asker], opt_out: PublishedEvent) -> None:
    for one in askers:
        one.opt_outs.put_nowait(opt_out)


async def _agreed(
    askers: list[Asker], permissions: dict[str, Answer]
) -> dict[str, dict[str, Answer]]:
    """Return what each gate says of every key, once that is what ``permissions`` has, or after
    long.
    """
    until = time.monotonic() + _AGREED_WITHIN
    while True:
        found = {one.gate: await one.ask_all() for one in askers}
        if not disagreements(found, permissions) or time.monotonic() > until:
            return found
        await asyncio.sleep(_SUPERVISED_EVERY)


async def _until(holds: Callable[[], bool], within: float, *, what: str) -> None:
    """Return when ``holds()``; raise TimeoutError after so many seconds."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"in {within:.0f} s there was no {what}")
        await asyncio.sleep(0.05)
