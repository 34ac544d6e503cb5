"""``python -m tests.chaos.sink``: the long campaign; ``make chaos STAGE=sink FAULTS=…``.

Half an hour of eight processes that end and come back thirty times:
``make chaos STAGE=sink FAULTS=30 MINUTES=30 CHAOS_ARGS="--workers 8 --restarts"``.

A hundred thousand opt-ins are outstanding all the while, in three brands, and twenty recipients opt
out every second, half of them while their opt-in is in flight.

It ends with the lines ``sink-unexplained`` and ``sink-opt-out-delay``, ``ok`` or ``short``. Exit
codes: 0 every guarantee held, 1 one was violated, 2 wrong usage.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.results import RunReport
from izin.kafka.clients import committed_ends, ensure_topics
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import LedgerUnavailableError, TopicMessages
from izin.schemas.codec import Codec
from tests.chaos.command import Seed, counted, listed, start
from tests.chaos.pipeline import FaultCampaign, once, run_under_faults
from tests.chaos.sink.decision_source import DecisionSource, Traffic
from tests.chaos.sink.injector import (
    ANCHORED_EVERY,
    RESTARTS,
    WEIGHTS,
    Injector,
    SinkFault,
    Surroundings,
    WorkerNetwork,
    worker_name,
)
from tests.chaos.sink.verdict import Outages, SinkVerdict, judge
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import BRAND
from tests.support.hostile.small_disk import SmallDisk, small_disk
from tests.support.proxy import proxy_to
from tests.support.registration import register_brand
from tests.support.simulator import SinkProcesses
from tests.support.skewed_process import MOST_SKEW

_DELAYS = ("delays", "until_registered")
_PAUSE = (2.5, 4.5)
"""How many seconds lie between two faults: processes that end faster than they start do no work."""

BRANDS = (BRAND, BRAND + 1, BRAND + 2)
_SETTLES_WITHIN = 900.0
_LEASES_PER_TIMEOUT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the sinks have to do while faults fall. Durations in seconds."""

    keys: int
    """Opt-ins that are outstanding."""
    is_refilled: bool
    """Whether new recipients opt in as others are submitted."""
    opt_outs: float
    """A second."""
    batch: int
    requests: int
    """A second, at İYS."""
    result_delay: float
    timeout: float
    """Of a call."""


HEAVY = Load(
    keys=100_000,
    is_refilled=True,
    opt_outs=20,
    batch=1000,
    requests=10,
    result_delay=5,
    timeout=3,
)
LIGHT = Load(
    keys=60, is_refilled=False, opt_outs=6, batch=20, requests=10, result_delay=1, timeout=1
)


@dataclass(kw_only=True)
class SinkCampaign(FaultCampaign):
    """One campaign; ``timeline`` lists each fault, its target, and its second."""

    load: Load
    workers: int = 3
    kinds: Mapping[SinkFault, int] = field(default_factory=lambda: WEIGHTS)
    """Which faults are injected, and how often relative to the others."""
    pause: tuple[float, float] = (0.8, 1.8)
    """How many seconds lie between two faults, at least and at most."""
    hold: tuple[float, float] = (3.0, 25.0)
    """For how many seconds a worker is frozen or cut off, at least and at most."""
    seconds: float = 0.0
    """Over how long faults are injected, evenly; 0: with a pause between any two."""
    timeline: list[tuple[float, SinkFault, str]] = field(default_factory=list)
    outstanding: list[int] = field(default_factory=list)
    """The opt-ins that İYS had not judged yet, at the first fault and at the last."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._source = DecisionSource(settings=self.settings, brands=BRANDS)
        self._outages = Outages()

    async def run(self, faults: int) -> SinkVerdict:
        """Inject so many faults, let everything settle, and judge."""
        await migrate(self.servers.database_url)
        await asyncio.to_thread(ensure_topics, self.settings)
        self._configure_simulator()
        async with self.ledger(pool_size=4) as ledger:
            topic_messages = TopicMessages(Codec(), self.settings.topics)

            async def set_status(status: str) -> None:
                for code in BRANDS:
                    brand = replace(ACTIVE, brand_code=code, status=status)
                    now = datetime.now(UTC)
                    await register_brand(ledger, topic_messages, brand, by="test", now=now)

            # Nothing is submitted before the whole load is there.
            await set_status("stopped")
            failed = await self._under_load(faults, ledger, start=lambda: set_status("active"))
            self.on_progress("comparing")
            names = [worker_name(number) for number in range(self.workers)]
            return await judge(
                self.settings,
                ledger,
                self.simulator,
                self._source,
                result_delay=self.load.result_delay,
                away=self._outages.of_all(names),
                failed=failed,
            )

    def _configure_simulator(self) -> None:
        self.simulator.configure(
            requestsPerSecond=self.load.requests,
            requestWindow="sliding",
            tokenLimit=10,
            statusLimit=1000,
            resultDelay=self.load.result_delay,
            hiddenWindow=0,
        )
        for code in BRANDS:
            self.simulator.brand(brandCode=code)

    async def _under_load(
        self, faults: int, ledger: Ledger, *, start: Callable[[], Awaitable[None]]
    ) -> list[str]:
        """Inject faults under load and let all settle; return what ended by itself.

        ``start`` has the sinks submit.
        """
        traffic = Traffic(
            source=self._source,
            database_url=self.servers.database_url,
            keys=self.load.keys,
            opt_outs=self.load.opt_outs,
            is_refilled=self.load.is_refilled,
            random=random.Random(self.seed + 1),
        )
        self.on_progress(f"publishing {self.load.keys:,} opt-ins")
        await traffic.refill(self.load.keys)
        async with self._sinks() as (sinks, networks, disk):
            surroundings = Surroundings(
                settings=self.settings,
                source=self._source,
                outages=self._outages,
                random=self._random,
                seed=self.seed,
                disk=disk,
            )
            left_out = () if disk else (SinkFault.DISK,)
            injector = Injector(
                sinks=sinks,
                networks=networks,
                database_url=self.servers.database_url,
                simulator=self.simulator,
                source=self._source,
                outages=self._outages,
                kinds={one: weight for one, weight in self.kinds.items() if one not in left_out},
                surroundings=surroundings,
                hold=self.hold,
                restart_database=self.servers.restart_database,
                random=self._random,
            )
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(injector.watch())
                await asyncio.wait_for(traffic.load(), _SETTLES_WITHIN)
                self.outstanding.append(traffic.outstanding)
                await start()
                publishing = tasks.create_task(traffic.run())
                await self._inject(faults, injector)
                self.outstanding.append(traffic.outstanding)
                publishing.cancel()
                self.on_progress("settling")
                await injector.release()
                self.simulator.clear_faults()
                await once(lambda: self._is_settled(ledger), _SETTLES_WITHIN)
                await once(lambda: _is_anchored(surroundings, ledger), _SETTLES_WITHIN)
                watch.cancel()
            return sinks.failed

    @asynccontextmanager
    async def _sinks(
        self,
    ) -> AsyncIterator[tuple[SinkProcesses, list[WorkerNetwork], SmallDisk | None]]:
        """Provide the processes, each behind proxies and with a wrong clock of its own, and the
        disk on which they write anchors.
        """
        database, iys = (
            conninfo_to_dict(self.servers.database_url),
            urlsplit(self.simulator.address),
        )
        async with AsyncExitStack() as stack:
            networks = [
                WorkerNetwork(
                    database=await stack.enter_async_context(
                        proxy_to(str(database["host"]), int(str(database["port"])))
                    ),
                    iys=await stack.enter_async_context(
                        proxy_to(str(iys.hostname), iys.port or 80)
                    ),
                )
                for _ in range(self.workers)
            ]
            folder = self.servers.folder / "anchors"
            disk = stack.enter_context(small_disk(folder, megabytes=4))
            timeout = timedelta(seconds=self.load.timeout)
            sinks = SinkProcesses(
                count=self.workers,
                settings=self.settings,
                database_url=self.servers.database_url,
                simulator=self.simulator,
                log=self.servers.folder / "sinks.log",
                result_delay=self.load.result_delay,
                timeout=timeout,
                lease=_LEASES_PER_TIMEOUT * timeout,
                environment={
                    "IYS_REQUESTS_PER_SECOND": str(self.load.requests),
                    "IZIN_BATCH_SIZE": str(self.load.batch),
                    # Junk is put aside, however much there is: a pause would last until a restart.
                    "IZIN_DEAD_LETTER_SHARE": "1",
                    "IZIN_ANCHOR_FILE": str(SmallDisk(folder).anchors),
                    "IZIN_ANCHOR_INTERVAL": f"PT{ANCHORED_EVERY}S",
                },
                environments={
                    number: {
                        "DATABASE_URL": make_conninfo(
                            self.servers.database_url, host="127.0.0.1", port=network.database.port
                        ),
                        "IYS_BASE_URL": f"http://127.0.0.1:{network.iys.port}",
                    }
                    for number, network in enumerate(networks)
                },
                skews={
                    number: self._random.uniform(-MOST_SKEW, MOST_SKEW)
                    for number in range(self.workers)
                },
            )
            try:
                yield sinks, networks, disk
            finally:
                await asyncio.to_thread(sinks.end)

    async def _inject(self, faults: int, injector: Injector) -> None:
        began = time.monotonic()
        for number in range(1, faults + 1):
            await asyncio.sleep(self._random.uniform(*self.pause))
            until = began + number * self.seconds / faults
            await asyncio.sleep(max(0.0, until - time.monotonic()))
            fault, target = await injector.inject()
            at = time.monotonic() - began
            self.timeline.append((at, fault, target))
            self.injected[fault] += 1
            self.on_progress(f"{number}/{faults} {at:7.1f} s  {target:<10} {fault}")

    async def _is_settled(self, ledger: Ledger) -> bool:
        if not await self._is_ingested(ledger):
            return False
        with suppress(LedgerUnavailableError):
            # Rescues and İYS's own events would go to the order stage, which is not here.
            return (await reads.lag(ledger, now=datetime.now(UTC))).is_settled
        return False

    async def _is_ingested(self, ledger: Ledger) -> bool:
        with suppress(LedgerUnavailableError):
            topics, read = self.settings.topics, await reads.ingested(ledger)
            for topic in (topics.decisions.name, topics.events.name, topics.express.name):
                ends = await asyncio.to_thread(committed_ends, self.settings, topic)
                if any(read.get((topic, number), 0) < end for number, end in ends.items()):
                    return False
            return True
        return False


async def _is_anchored(surroundings: Surroundings, ledger: Ledger) -> bool:
    with suppress(LedgerUnavailableError):
        return not await surroundings.unanchored(ledger)
    return False


def main(  # noqa: PLR0917 - an option is an argument
    faults: Annotated[int, typer.Option(min=1, help="How many are injected.")] = 300,
    keys: Annotated[
        int, typer.Option(min=1, help="How many opt-ins are outstanding, all the time.")
    ] = HEAVY.keys,
    opt_outs: Annotated[float, typer.Option(min=0, help="Opt-outs a second.")] = HEAVY.opt_outs,
    requests: Annotated[
        int, typer.Option(min=1, help="Requests a second that İYS accepts.")
    ] = HEAVY.requests,
    seed: Seed = 1,
    workers: Annotated[int, typer.Option(min=1, help="Sink processes.")] = 3,
    minutes: Annotated[
        float,
        typer.Option(
            min=0, help="Over how long they are injected; 0: some seconds after one another."
        ),
    ] = 0,
    restarts: Annotated[
        bool, typer.Option("--restarts", help="Only end processes; nothing frozen, İYS well.")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos-sink"),
) -> None:
    """Inject faults into sinks, networks, database and calls under load, then compare."""
    raise run_under_faults(
        "sink",
        folder,
        lambda servers, show: SinkCampaign(
            servers=servers,
            seed=seed,
            load=replace(HEAVY, keys=keys, opt_outs=opt_outs, requests=requests),
            workers=workers,
            kinds=RESTARTS if restarts else WEIGHTS,
            pause=_PAUSE,
            seconds=minutes * 60,
            on_progress=show,
        ),
        report,
        faults=faults,
        partitions=6,
    )


def report(campaign: SinkCampaign, verdict: SinkVerdict, *, seconds: float) -> RunReport:
    """Return the report of the campaign."""
    first, last = campaign.outstanding
    summary = (
        f"{campaign.injected.total()} faults in {seconds:.0f} s on {campaign.workers} sink "
        f"processes: {verdict.keys} keys, {verdict.movements} movements, {verdict.calls} calls, "
        f"{verdict.token_calls} token calls, {verdict.h084} × H084, {verdict.h124} × H124, "
        f"{verdict.missed} terms missed"
    )
    load = (
        f"{first} opt-ins outstanding at the first fault, {last} at the last; {verdict.opt_outs} "
        f"opt-outs, {verdict.in_flight} of them with an opt-in in flight"
    )
    delays = f"until submitted, {verdict.delays}; {verdict.away:.0f} s of outages not counted"
    return RunReport(
        tables=[
            summary,
            load,
            delays,
            f"until registered, {verdict.until_registered}",
            counted(campaign.injected),
            *listed(verdict.unexplained),
            *(f"  {one}" for one in verdict.slow if verdict.delays.over),
        ],
        data={
            "seed": campaign.seed,
            "seconds": round(seconds),
            "workers": campaign.workers,
            "load": asdict(campaign.load),
            "outstanding": campaign.outstanding,
            "faults": campaign.injected,
            "injected": [
                f"{at:7.1f} s  {target:<10} {fault}" for at, fault, target in campaign.timeline
            ],
            **{name: value for name, value in asdict(verdict).items() if name not in _DELAYS},
            **{name: str(getattr(verdict, name)) for name in _DELAYS},
        },
        figures={
            "sink-unexplained": len(verdict.unexplained),
            "sink-opt-out-delay": verdict.delays.slowest,
        },
    )


if __name__ == "__main__":
    start("sink", main)
