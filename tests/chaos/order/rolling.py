"""Rolling restarts under load: each worker in turn is stopped and started again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.order.runs import PARTITIONS, broken_promises, running_campaign, verdict_as_json
from tests.support.order.delays import decided_events
from tests.support.order.verdict import OrderVerdict, examine
from tests.support.order.workers import all_held, until

_OWNED_WITHIN = 180.0


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
