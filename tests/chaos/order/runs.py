"""One run of the campaign: fresh brokers, fresh topics, faults for a while, and the verdict."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from izin.schemas.codec import Codec
from tests.chaos.hostile.accounting import Account, account
from tests.chaos.order.brokers import THREE, BrokerCluster
from tests.chaos.order.campaign import OrderCampaign
from tests.chaos.order.faults import AT_POINTS, OVERLAPPING, WEIGHTS, InjectedFault, OrderFault
from tests.chaos.order.lasting import LastingFaults
from tests.chaos.order.load_generator import LoadGenerator
from tests.chaos.order.network import Network
from tests.chaos.order.workers import SKEWS, InstrumentedWorker
from tests.support.hostile.batches import UNREADABLE
from tests.support.hostile.small_disk import small_disk
from tests.support.order.delays import DecidedEvent, OptOutDelays, opt_out_delays
from tests.support.order.traffic import Traffic
from tests.support.order.verdict import OrderVerdict, committed_records, examine
from tests.support.order.workers import all_held, until

PARTITIONS = 12
WORKERS = 3
RECIPIENTS = 400
RATE = 400.0
"""Events a second."""
_FIRST_EVENTS = 2000
_OVERLAP_PAUSE = 0.5, 1.5
"""Seconds between two faults that overlap others."""
_OWNED_WITHIN = 180.0
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
        workers: list[InstrumentedWorker] = []
        try:
            for name, skew in zip(names, cycle(SKEWS), strict=False):
                reached = {"bootstrap_servers": network.bootstrap_servers(name)}
                own = settings.model_copy(update=reached)
                # One of them keeps its state on disk, where it can be full.
                of_it = disk if name == names[0] else None
                workers.append(InstrumentedWorker(name, own, folder, skew=skew, disk=of_it))
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
        finally:
            for worker in workers:
                worker.kill()


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
