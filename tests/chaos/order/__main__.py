"""``python -m tests.chaos.order``: the long campaign; ``make chaos MINUTES=…``.

``make chaos STAGE=order MINUTES=13 CHAOS_ARGS="--rounds 3"`` injects more than 300 faults within 20
minutes on two busy cores.

The opt-outs' delay is that of ``tests.support.order.verdict``, with these outages taken off: of a
partition while a foreign transaction hangs in it, in a lane or in ``desired-consents``; of all
while the only broker is killed (until it answers again) or frozen, or any broker is cut off from
all workers, for it leads on; and of all while every worker is killed (until it answers), frozen or
cut off. Nothing is taken off where one of three brokers is killed or frozen, or some workers are
stopped.

It ends with the lines ``order-violations``, ``order-opt-out-delay``, ``rolling-stall`` and
``rolling-end``, each ``ok`` or ``short``. Exit codes: 0 every guarantee held, 1 one was violated, 2
wrong usage.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.results import RunReport, progress
from izin.kafka.clients import ensure_topics
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.command import Seed, conclude, empty, start
from tests.chaos.hostile.records import Account, account
from tests.chaos.order.brokers import THREE, BrokerCluster, Network
from tests.chaos.order.campaign import SKEWS, InstrumentedWorker, LoadGenerator, OrderCampaign
from tests.chaos.order.faults import (
    AT_POINTS,
    OVERLAPPING,
    WEIGHTS,
    InjectedFault,
    LastingFaults,
    OrderFault,
)
from tests.support.hostile.batches import UNREADABLE
from tests.support.hostile.small_disk import small_disk
from tests.support.order.harness import Traffic
from tests.support.order.verdict import (
    DecidedEvent,
    OptOutDelays,
    OrderVerdict,
    all_held,
    committed_records,
    decided_events,
    examine,
    opt_out_delays,
    until,
)

_LONGEST_RUN = 5.0
_SIZES = (1, 3, 1)

_OWNED_WITHIN = 180.0
PARTITIONS = 12
WORKERS = 3
RECIPIENTS = 400
RATE = 400.0
"""Events a second."""
_FIRST_EVENTS = 2000
_OVERLAP_PAUSE = 0.5, 1.5
"""Seconds between two faults that overlap others."""
_DISK = 256
"""Megabytes for the state of a worker."""


@dataclass(frozen=True, kw_only=True)
class OrderRun:
    """The result of one run."""

    brokers: int
    seconds: float
    injected: list[InjectedFault]
    ended: Counter[str]
    """Workers that ended by themselves."""
    statuses: Counter[int]
    """Exit statuses after SIGTERM."""
    slowest_end: float
    stop_reasons: Counter[str]
    verdict: OrderVerdict
    began_at: float
    """When the injection began, in seconds since 1970."""
    delays: OptOutDelays
    hostile: Account
    """What came of the hostile records."""
    recovered: bool
    """Whether in the end each partition had one owner, and no worker held what is another's."""

    @property
    def violations(self) -> int:
        """The number of violations, including failed recoveries and bad exit statuses."""
        bad_exits = sum(self.statuses.values()) - self.statuses[0]
        broken = broken_promises(self.verdict) + len(self.hostile.wrong)
        return broken + (not self.recovered) + bad_exits

    @property
    def at_points(self) -> int:
        return sum(one.fault in AT_POINTS for one in self.injected)

    def _lateness(self, event: DecidedEvent) -> str:
        """Return where `event` waited, from when until when, in seconds of the injection."""
        began, ended = event.published - self.began_at, event.readable - self.began_at
        return f"[{event.partitions[0]}] {began:.0f} s to {ended:.0f} s"

    def as_json(self) -> dict[str, Any]:
        return {
            "brokers": self.brokers,
            "seconds": round(self.seconds, 1),
            "faults": len(self.injected),
            "at_fault_points": self.at_points,
            "by_fault": Counter(one.fault for one in self.injected),
            "by_point": Counter(one.point for one in self.injected if one.point),
            "recovered": self.recovered,
            **verdict_as_json(self.verdict),
            "hostile": self.hostile.fates,
            "hostile_wrong": self.hostile.wrong,
            "opt_out_delays": self.delays.as_json(),
            "late_opt_outs": Counter(map(self._lateness, self.delays.late)),
            "ended_by_themselves": self.ended,
            "exit_statuses_after_sigterm": self.statuses,
            "slowest_sigterm_seconds": round(self.slowest_end, 2),
            "stop_reasons": self.stop_reasons,
            "injected": [str(one) for one in self.injected],
        }


def broken_promises(verdict: OrderVerdict) -> int:
    """Return how many events and keys violate a guarantee."""
    broken = (verdict.missing, verdict.doubled, verdict.regressions, verdict.wrong)
    return sum(map(len, (*broken, verdict.opt_outs)))


def verdict_as_json(verdict: OrderVerdict) -> dict[str, Any]:
    return {
        "missing": len(verdict.missing),
        "doubled": len(verdict.doubled),
        "regressions": len(verdict.regressions),
        "wrong": len(verdict.wrong),
        "opt_outs_wrong": len(verdict.opt_outs),
        "counts": verdict.counts,
    }


@contextmanager
def running_campaign(
    folder: Path, *, brokers: int, seed: int, on_progress: Callable[[str], None]
) -> Iterator[OrderCampaign]:
    """Yield a campaign whose workers own every partition; it leaves nothing running."""
    folder.mkdir(parents=True)
    random = Random(seed)
    names = [f"worker-{number}" for number in range(1, WORKERS + 1)]
    with (
        Network(names, range(1, brokers + 1)) as network,
        BrokerCluster(folder, brokers, network) as cluster,
        small_disk(folder / "disk", megabytes=_DISK) as disk,
        ExitStack() as stack,
    ):
        settings = KafkaSettings(
            bootstrap_servers=cluster.bootstrap_servers,
            partitions=PARTITIONS,
            replication_factor=brokers,
        )
        ensure_topics(settings)
        traffic = Traffic(settings, Codec(), seed=seed, recipients=RECIPIENTS)
        traffic.publish(_FIRST_EVENTS)
        load = LoadGenerator(traffic, RATE)
        workers = []
        for name, skew in zip(names, cycle(SKEWS), strict=False):
            own = settings.model_copy(update={"bootstrap_servers": network.bootstrap_servers(name)})
            # One of them keeps its state on disk, where it can be full.
            of_it = disk if name == names[0] else None
            worker = InstrumentedWorker(name, own, folder, skew=skew, disk=of_it)
            workers.append(stack.enter_context(worker))
        until(lambda: all_held(workers, PARTITIONS), within=_OWNED_WITHIN, what="owners")
        load.start()
        yield OrderCampaign(
            cluster=cluster,
            settings=settings,
            workers=workers,
            load=load,
            lasting=LastingFaults(settings, network, random, disk),
            random=random,
            on_progress=on_progress,
        )


def random_faults(seconds: float) -> Callable[[OrderCampaign, Random], bool]:
    """Return an injector of random faults for so many seconds, some of them during others.

    What stops a worker waits until the others have taken over what the last one stopped: else the
    workers would start all the time, and decide nothing.
    """
    limit = time.monotonic() + seconds
    next_at = 0.0

    def inject(campaign: OrderCampaign, random: Random) -> bool:
        def overlap() -> None:
            nonlocal next_at
            if next_at <= time.monotonic() < limit:
                (fault,) = random.choices(list(OVERLAPPING), list(OVERLAPPING.values()))
                campaign.inject(fault)
                next_at = time.monotonic() + random.uniform(*_OVERLAP_PAUSE)

        overlap()
        (fault,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if fault is not OrderFault.LEADER_KILL or campaign.cluster.size == THREE:
            campaign.settle(overlap)
            campaign.inject(fault, meanwhile=overlap)
        return time.monotonic() < limit

    return inject


def run_with_faults(
    folder: Path,
    *,
    brokers: int,
    seed: int,
    inject: Callable[[OrderCampaign, Random], bool],
    on_progress: Callable[[str], None],
    pause: float = 0.8,
) -> OrderRun:
    """Inject until `inject` reports the last, at most `pause` seconds apart; then check."""
    began = time.monotonic()
    random = Random(f"{seed}/when")
    with running_campaign(folder, brokers=brokers, seed=seed, on_progress=on_progress) as campaign:
        next_at = 0.0
        goes_on = True
        while goes_on:
            campaign.supervise()
            if time.monotonic() >= next_at:
                goes_on = inject(campaign, random)
                next_at = time.monotonic() + random.uniform(0.2, pause)
            time.sleep(0.02)
        recovered = campaign.finish()
        places = campaign.hostile.places()
        read = partial(committed_records, without=campaign.hostile.places(UNREADABLE))
        verdict = examine(campaign.settings, Codec(), read=read, hostile=places)
        delays = opt_out_delays(
            campaign.settings,
            since=campaign.began_at,
            outages=campaign.lasting.outages,
            read=read,
            hostile=places,
        )
        hostile = account(campaign.settings, campaign.hostile.written)
    return OrderRun(
        brokers=brokers,
        seconds=time.monotonic() - began,
        injected=campaign.injected,
        ended=campaign.ended,
        statuses=campaign.end_statuses,
        slowest_end=max(campaign.end_seconds),
        stop_reasons=stop_reasons(folder),
        verdict=verdict,
        began_at=campaign.began_at,
        delays=delays,
        hostile=hostile,
        recovered=recovered,
    )


def stop_reasons(folder: Path) -> Counter[str]:
    """Return why the workers gave up transactions and stopped, from their logs under `folder`."""
    found: Counter[str] = Counter()
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("event") == "transaction aborted":
                found[f"lost: {entry.get('error')}"] += 1
            elif entry.get("level") == "critical":
                found[f"critical: {entry.get('event')}"] += 1
    return found


@dataclass(frozen=True, kw_only=True)
class RollingRestarts:
    """The result of the restarts."""

    rounds: int
    ends: list[float]
    """Seconds from each SIGTERM to the end of the process."""
    statuses: set[int]
    stall: float
    """The longest that an event waited for its decision, in seconds."""
    verdict: OrderVerdict
    recovered: bool

    @property
    def violations(self) -> int:
        """The number of violations, including failed recoveries and bad exit statuses."""
        return broken_promises(self.verdict) + (not self.recovered) + len(self.statuses - {0})

    def __str__(self) -> str:
        return (
            f"{len(self.ends)} ends in {self.rounds} rolling restarts, the slowest in "
            f"{max(self.ends):.1f} s, the longest stall {self.stall:.1f} s"
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "slowest_end_seconds": round(max(self.ends), 2),
            "longest_stall_seconds": round(self.stall, 2),
            "exit_statuses": sorted(self.statuses),
            **verdict_as_json(self.verdict),
        }


def restart_rolling(
    folder: Path, *, rounds: int, seed: int, on_progress: Callable[[str], None]
) -> RollingRestarts:
    """Restart every worker `rounds` times in turn, each once all partitions are owned again."""
    with running_campaign(folder, brokers=1, seed=seed, on_progress=on_progress) as campaign:
        began = time.time()
        statuses: set[int] = set()
        for number in range(rounds):
            for worker in campaign.workers:
                statuses.add(campaign.end(worker))
                worker.start()
                until(
                    lambda: all_held(campaign.workers, PARTITIONS),
                    within=_OWNED_WITHIN,
                    what="worker that came back",
                )
            slowest = max(campaign.end_seconds)
            on_progress(f"restart {number + 1} of {rounds}: slowest end {slowest:.1f} s")
        recovered = campaign.finish()
        statuses.update(campaign.end_statuses)
        settings = campaign.settings
        verdict = examine(settings, Codec())
        # Events from before the workers started do not count.
        stall = longest_wait(settings, since=began)
    return RollingRestarts(
        rounds=rounds,
        ends=campaign.end_seconds,
        statuses=statuses,
        stall=stall,
        verdict=verdict,
        recovered=recovered,
    )


def longest_wait(settings: KafkaSettings, since: float) -> float:
    """Return the longest time from the append of an event to that of its decision."""
    return max(
        (one.wait() for one in decided_events(settings) if one.published >= since), default=0.0
    )


def main(
    minutes: Annotated[float, typer.Option(min=0.5, help="Duration of the injection.")] = 10.0,
    seed: Seed = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Rolling restarts of all workers.")] = 10,
    brokers: Annotated[int, typer.Option(help="1 or 3 alone; 0: in turns.")] = 0,
    folder: Annotated[
        Path, typer.Option(help="Data and logs of the last campaign, and its result.")
    ] = Path(".izin/chaos"),
) -> None:
    """Inject faults on one broker and on three in turns, then check every event."""
    console = progress()
    empty(folder)
    sizes = (brokers,) if brokers else _SIZES
    count = max(len(sizes), round(minutes / _LONGEST_RUN))
    runs = [
        _run(
            console,
            folder,
            number,
            size=sizes[number % len(sizes)],
            seed=seed,
            minutes=minutes / count,
        )
        for number in range(count)
    ]
    rolling = restart_rolling(
        folder / "rolling", rounds=rounds, seed=seed, on_progress=console.print
    )
    raise conclude("order", folder, report(runs, rolling, seed=seed))


def _run(
    console: Console, folder: Path, number: int, *, size: int, seed: int, minutes: float
) -> OrderRun:
    console.print(f"run {number + 1}: brokers: {size}")
    run = run_with_faults(
        folder / f"run-{number + 1}",
        brokers=size,
        seed=seed + number,
        inject=random_faults(minutes * 60),
        on_progress=console.print,
    )
    console.print(f"run {number + 1}: {run.verdict}; {run.delays}")
    # A campaign that is cut short leaves the runs that it has finished.
    text = json.dumps(run.as_json(), ensure_ascii=False, indent=2)
    (folder / f"run-{number + 1}.json").write_text(f"{text}\n", encoding="utf-8")
    return run


def report(runs: list[OrderRun], rolling: RollingRestarts, *, seed: int) -> RunReport:
    """Return the report of the faults and of the rolling restarts."""
    return RunReport(
        tables=[_table(runs, rolling)],
        data={
            "seed": seed,
            "faults": sum(len(run.injected) for run in runs),
            "at_fault_points": sum(run.at_points for run in runs),
            "runs": [run.as_json() for run in runs],
            "opt_out_delays": opt_outs(runs).as_json(),
            "rolling": rolling.as_json(),
        },
        figures=figures(runs, rolling),
    )


def figures(runs: list[OrderRun], rolling: RollingRestarts) -> dict[str, float]:
    """Return the violations, and the stalls and ends of the rolling restarts."""
    return {
        "order-violations": sum(one.violations for one in (*runs, rolling)),
        "order-opt-out-delay": opt_outs(runs).at(1),
        "rolling-stall": rolling.stall,
        "rolling-end": max(rolling.ends),
    }


def opt_outs(runs: list[OrderRun]) -> OptOutDelays:
    """Return the waits of the opt-outs of all runs."""
    return OptOutDelays(one for run in runs for one in run.delays.waits)


def _table(runs: list[OrderRun], rolling: RollingRestarts) -> Table:
    table = Table(title="The order stage under faults: three workers, twelve partitions")
    for heading in ("run", "brokers", "recovered"):
        table.add_column(heading)
    for heading in ("faults", "at points", "events", "missing", "doubled", "backwards", "wrong"):
        table.add_column(heading, justify="right")
    for number, run in enumerate(runs, 1):
        verdict = run.verdict
        counted = (
            len(run.injected),
            run.at_points,
            verdict.counts["events"],
            len(verdict.missing),
            len(verdict.doubled),
            len(verdict.regressions),
            len(verdict.wrong) + len(verdict.opt_outs),
        )
        recovered = "yes" if run.recovered else "no"
        table.add_row(str(number), str(run.brokers), recovered, *map(str, counted))
    table.caption = (
        f"{sum(len(run.injected) for run in runs)} faults, "
        f"{sum(run.at_points for run in runs)} of them at fault points; {rolling}; "
        f"{opt_outs(runs)}"
    )
    return table


if __name__ == "__main__":
    start("order", main)
