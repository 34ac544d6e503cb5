"""Exactly once, whatever befalls the workers."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.streams.topic_reading import examine, lag
from tests.streams.traffic import Traffic
from tests.streams.workers import Worker, all_held, until

SEED = 20260302
PARTITIONS = 12
WORKERS = 3
PLAN = ("freeze", "kill", "term", "kill", "kill", "term", "kill", "freeze", "term", "kill", "kill")
"""On whom each falls, and when, the seed says."""
RATE = 400.0
"""Events a second."""
FROZEN = 9.0
"""Longer than the session: the group gives the partitions away before the sleeper wakes."""


@dataclass(kw_only=True)
class Campaign:
    """Faults on workers that own partitions, one after the other, and what came of them."""

    workers: list[Worker]
    random: Random
    counts: Counter[str]
    asleep: dict[Worker, float]

    def strike(self, fault: str) -> bool:
        """Do it to a worker that owns partitions, if one is awake; one sleeps at a time."""
        owners = [
            worker
            for worker in self.workers
            if worker not in self.asleep and worker.health()["assigned"]
        ]
        if not owners or (fault == "freeze" and self.asleep):
            return False
        worker = self.random.choice(owners)
        if fault == "kill":
            worker.kill()
            worker.start()
        elif fault == "freeze":
            worker.send(signal.SIGSTOP)
            self.asleep[worker] = time.monotonic() + FROZEN
        else:
            status = worker.end()
            self.counts[f"exit {status} after SIGTERM"] += 1
            worker.start()
        self.counts[fault] += 1
        return True

    def wake(self) -> None:
        """Let those go on whose time has come."""
        for worker in [one for one, at in self.asleep.items() if time.monotonic() >= at]:
            worker.send(signal.SIGCONT)
            del self.asleep[worker]

    def tend(self) -> None:
        """Start again whoever ended by itself, as a supervisor does."""
        for worker in self.workers:
            if worker not in self.asleep and worker.process.poll() is not None:
                self.counts[f"ended by itself with {worker.process.returncode}"] += 1
                worker.start()


@pytest.mark.broker
@pytest.mark.timeout(180)
def test_every_event_is_decided_exactly_once_whatever_befalls_the_workers(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
    codec: Codec,
    record_property: Callable[[str, object], None],
) -> None:
    """Killed, frozen and ended workers miss nothing, double nothing and take nothing back."""
    settings = make_settings(PARTITIONS)
    traffic = Traffic(settings, codec, seed=SEED, recipients=400)
    campaign = Campaign(
        workers=[start_worker(f"worker-{number}", settings) for number in range(WORKERS)],
        random=Random(SEED),
        counts=Counter(),
        asleep={},
    )
    traffic.publish(2000)
    until(lambda: all_held(campaign.workers, PARTITIONS), within=30, what="worker for each")

    began = time.monotonic()
    next_fault, published, planned = 0.0, 0, list(PLAN)
    while planned or campaign.asleep:
        behind = int(RATE * (time.monotonic() - began) - published)
        traffic.publish(behind)
        published += behind
        campaign.wake()
        campaign.tend()
        if planned and time.monotonic() >= next_fault and campaign.strike(planned[0]):
            planned.pop(0)
            next_fault = time.monotonic() + campaign.random.uniform(0.3, 1.5)

    def drained() -> bool:
        campaign.tend()
        return lag(settings, f"{settings.topic_prefix}izin-order") == 0

    until(drained, within=60, what="end of the backlog")
    statuses = [worker.end() for worker in campaign.workers]
    verdict = examine(settings, codec)
    report = f"faults={len(PLAN)} {dict(campaign.counts)} last={statuses} {verdict}"
    record_property("campaign", report)
    print(report)  # noqa: T201  # shown with -rP or on failure: the campaign's figures
    assert verdict.faultless, report
    assert all(
        verdict.counts[one] for one in ("Apply", "Stale", "duplicates", "misplaced", "dead")
    ), report
    assert not [name for name in campaign.counts if name.startswith("ended by itself")], report
