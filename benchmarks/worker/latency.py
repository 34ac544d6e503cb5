"""The benchmark ``latency``: from a publisher's call until subscribers can read the opt-out.

While the worker is idle, on either lane; and on the express lane while the same worker drains a
backlog of the bulk lane.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from benchmarks.order.broker import publish
from benchmarks.order.dataset import Dataset, DatasetShape
from benchmarks.results import RunReport
from benchmarks.worker.drain import DrainProgress
from benchmarks.worker.installation import (
    BrokerOption,
    PartitionsOption,
    RecipientsOption,
    measuring,
)
from benchmarks.worker.order_worker import order_worker
from benchmarks.worker.probe import LatencySummary, Probe, latency_table
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

IDLE, BACKLOG = "idle", "under the backlog"

_INTERVAL = 0.025
"""Seconds between probes: some forty a second, a negligible load."""
_LEAST = 20
_WARM_UP = 400
"""Probes of each lane that are not counted, in which a new broker compiles what it runs."""
_POLL_EACH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """All latencies of a run, and for how many probes the backlog lasted."""

    summaries: Sequence[LatencySummary]
    while_draining: int


def latency(
    probes: Annotated[int, typer.Option(min=_LEAST, help="Idle probes, on each lane.")] = 1000,
    events: Annotated[
        int, typer.Option(min=1000, help="Events of the backlog on the bulk lane.")
    ] = 1_000_000,
    recipients: RecipientsOption = 200_000,
    partitions: PartitionsOption = 4,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure how soon subscribers can read an opt-out, idle and under a backlog."""
    shape = DatasetShape(events=events, recipients=recipients, partitions=partitions)
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        found = measure(settings, shape, folder, probes=probes, on_progress=show)
    title = f"Published until readable, {probes:,} probes a lane, {events:,} events in the backlog"
    return RunReport(
        tables=[
            latency_table(found.summaries, title, "probes of", "probes"),
            f"the backlog lasted for {found.while_draining:,} probes",
        ],
        data={
            "events": events,
            "partitions": partitions,
            "unit": "ms",
            "while_draining": found.while_draining,
            "latencies": [asdict(one) for one in found.summaries],
        },
        figures=figures(found),
    )


def figures(found: Latencies) -> Mapping[str, float]:
    """Return the slowest of both outputs, and of both lanes where the worker is idle."""
    idle = [one for one in found.summaries if IDLE in one.name]
    backlog = [one for one in found.summaries if BACKLOG in one.name]
    return {
        "latency-idle-p50": max(one.p50 for one in idle),
        "latency-idle-p99": max(one.p99 for one in idle),
        "latency-backlog-p99": max(one.p99 for one in backlog),
    }


def measure(
    settings: KafkaSettings,
    shape: DatasetShape,
    folder: Path,
    *,
    probes: int,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Latencies:
    """Return the latencies of probes over the topics of ``settings``, with a worker of its own."""
    codec, random = Codec(), Random(shape.seed)
    bulk, express = settings.topics.events.name, settings.topics.express.name
    worker = order_worker(settings, folder)
    found: list[LatencySummary] = []

    def add(name: str, taken: dict[str, list[float]]) -> None:
        for topic, seconds in taken.items():
            output = topic.removeprefix(settings.topic_prefix)
            found.append(LatencySummary.of(f"{output}, {name}", seconds))

    try:
        worker.start()
        worker.wait_ready()
        with Probe(settings, codec) as probe:
            for name, lane in ((f"{IDLE}, bulk lane", bulk), (f"{IDLE}, express lane", express)):
                on_progress(name)
                for count in (_WARM_UP, probes):
                    taken = probe.run(
                        lane,
                        every=_INTERVAL,
                        random=random,
                        should_continue=partial(operator.gt, count),
                    )
                add(name, taken)
            worker.kill()
            on_progress("publishing the backlog")
            publish(Dataset(shape, codec), settings)
            drain = DrainProgress(settings)
            worker.start()
            worker.wait_ready()
            on_progress("draining")
            draining = _WhileDraining(drain)
            taken = probe.run(express, every=_INTERVAL, random=random, should_continue=draining)
            drain.close()
            add(f"{BACKLOG}, express lane", taken)
    finally:
        worker.kill()
    return Latencies(summaries=found, while_draining=draining.lasted)


class _WhileDraining:
    """Continues while a backlog lasts, and for a minimum number of probes."""

    def __init__(self, drain: DrainProgress) -> None:
        self._drain = drain
        self.lasted = 0

    def __call__(self, sent: int) -> bool:
        """Return whether another probe is to follow ``sent`` of them."""
        if sent % _POLL_EACH == 0 and self._drain.share < 1:
            self.lasted = sent + _POLL_EACH
        return sent < max(self.lasted, _LEAST)
