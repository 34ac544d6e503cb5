"""A leg of the campaign: fresh brokers, fresh topics, faults for a while, and the verdict."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from izin.runtime.kafka import ensure_topics
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.order.brokers import THREE, Cluster
from tests.chaos.order.campaign import Campaign, Fused, reasons
from tests.chaos.order.fault_points import Point
from tests.chaos.order.faults import AT_POINTS, WEIGHTS, Fault, Strike
from tests.chaos.order.load_generator import Flow
from tests.streams.topic_reading import Verdict, examine
from tests.streams.traffic import Traffic
from tests.streams.workers import all_held, until

PARTITIONS = 12
WORKERS = 3
RECIPIENTS = 400
RATE = 400.0
"""Events a second."""
_FIRST_EVENTS = 2000
_HELD_WITHIN = 180.0


@dataclass(frozen=True, kw_only=True)
class Leg:
    """What came of it."""

    brokers: int
    seconds: float
    strikes: list[Strike]
    ended: Counter[str]
    """Workers that ended by themselves."""
    statuses: Counter[int]
    """Exit statuses after SIGTERM."""
    slowest_end: float
    reasons: Counter[str]
    verdict: Verdict
    recovered: bool
    """Whether in the end each partition had one owner, and no worker held what is another's."""

    @property
    def faultless(self) -> bool:
        return self.verdict.faultless and self.recovered and set(self.statuses) <= {0}

    @property
    def at_points(self) -> int:
        return sum(strike.fault in AT_POINTS for strike in self.strikes)

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "brokers": self.brokers,
            "seconds": round(self.seconds, 1),
            "faults": len(self.strikes),
            "at_fault_points": self.at_points,
            "by_fault": Counter(strike.fault for strike in self.strikes),
            "by_point": Counter(strike.point for strike in self.strikes if strike.point),
            "recovered": self.recovered,
            "missing": len(verdict.missing),
            "doubled": len(verdict.doubled),
            "regressions": len(verdict.regressions),
            "wrong": len(verdict.wrong),
            "opt_outs_wrong": len(verdict.opt_outs),
            "counts": verdict.counts,
            "ended_by_themselves": self.ended,
            "exit_statuses_after_sigterm": self.statuses,
            "slowest_sigterm_seconds": round(self.slowest_end, 2),
            "reasons": self.reasons,
            "strikes": [str(strike) for strike in self.strikes],
        }


@contextmanager
def a_campaign(
    folder: Path, *, brokers: int, seed: int, tell: Callable[[str], None]
) -> Iterator[Campaign]:
    """Give a campaign whose workers hold every partition; nothing of it is left running."""
    folder.mkdir(parents=True)
    random = Random(seed)
    with Cluster(folder, brokers) as cluster:
        settings = KafkaSettings(
            bootstrap_servers=cluster.bootstrap_servers,
            partitions=PARTITIONS,
            replication_factor=brokers,
        )
        ensure_topics(settings)
        traffic = Traffic(settings, Codec(), seed=seed, recipients=RECIPIENTS)
        traffic.publish(_FIRST_EVENTS)
        flow = Flow(traffic, RATE)
        workers: list[Fused] = []
        try:
            workers += [Fused(f"worker-{n}", settings, folder) for n in range(1, WORKERS + 1)]
            until(lambda: all_held(workers, PARTITIONS), within=_HELD_WITHIN, what="owners")
            flow.start()
            yield Campaign(
                cluster=cluster,
                settings=settings,
                workers=workers,
                flow=flow,
                random=random,
                tell=tell,
            )
        finally:
            for worker in workers:
                worker.kill()


def planned(plan: list[tuple[Fault, Point | None]]) -> Callable[[Campaign, Random], bool]:
    """Return how to strike after `plan`, each until it fell; it ends with the plan."""
    left = list(plan)

    def strike(campaign: Campaign, _random: Random) -> bool:
        if left and campaign.strike(*left[0]):
            left.pop(0)
        return bool(left)

    return strike


def drawn(seconds: float) -> Callable[[Campaign, Random], bool]:
    """Return how to strike at random for so long."""
    limit = time.monotonic() + seconds

    def strike(campaign: Campaign, random: Random) -> bool:
        (fault,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if fault is not Fault.LEADER_KILL or campaign.cluster.size == THREE:
            campaign.strike(fault)
        return time.monotonic() < limit

    return strike


def run_leg(
    folder: Path,
    *,
    brokers: int,
    seed: int,
    strike: Callable[[Campaign, Random], bool],
    tell: Callable[[str], None],
    pause: float = 0.8,
) -> Leg:
    """Strike until `strike` says that it was the last, at most `pause` seconds apart; judge."""
    began = time.monotonic()
    random = Random(f"{seed}/when")
    with a_campaign(folder, brokers=brokers, seed=seed, tell=tell) as campaign:
        next_at = 0.0
        goes_on = True
        while goes_on:
            campaign.tend()
            if time.monotonic() >= next_at:
                goes_on = strike(campaign, random)
                next_at = time.monotonic() + random.uniform(0.2, pause)
            time.sleep(0.02)
        recovered = campaign.finish()
        verdict = examine(campaign.settings, Codec())
    return Leg(
        brokers=brokers,
        seconds=time.monotonic() - began,
        strikes=campaign.strikes,
        ended=campaign.ended,
        statuses=campaign.end_statuses,
        slowest_end=max(campaign.end_seconds),
        reasons=reasons(folder),
        verdict=verdict,
        recovered=recovered,
    )
