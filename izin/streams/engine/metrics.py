"""The metrics of an order worker, for Prometheus."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from izin.streams.engine.lane_watch import LaneWatch
from izin.streams.engine.worker import OrderWorker
from izin.streams.ownership.effects import DEAD_LETTER

F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)

_DECISIONS = ("Apply", "Enriched", "Stale", "Duplicate")
_TOTALS = (
    "opt-outs",
    "erased",
    "suppressed",
    "repartitioned",
    "records",
    "batches",
    "acquisitions",
    "aborted",
)


class WorkerMetrics(Collector):
    """Reads the worker's own counts on every scrape.

    ``lanes`` gives each lane's topic; ``watch`` knows them as a whole.
    """

    def __init__(self, worker: OrderWorker, lanes: Mapping[str, str], watch: LaneWatch) -> None:
        self._worker = worker
        self._lanes = lanes
        self._watch = watch
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        """Declare nothing in advance: the counts appear as they happen."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        worker, counts = self._worker, self._worker.counts
        yield _labelled(
            CounterMetricFamily(
                "izin_order_decisions", "Events decided, by kind.", labels=["kind"]
            ),
            {kind.lower(): counts[kind] for kind in _DECISIONS},
        )
        yield _labelled(
            CounterMetricFamily(
                "izin_order_dead_letters", "Records that became no decision.", labels=["reason"]
            ),
            {
                name.removeprefix(DEAD_LETTER): count
                for name, count in counts.items()
                if name.startswith(DEAD_LETTER)
            },
        )
        for name in _TOTALS:
            yield CounterMetricFamily(
                f"izin_order_{name.replace('-', '_')}", f"Total {name}.", value=counts[name]
            )
        yield SummaryMetricFamily(
            "izin_order_commit_seconds",
            "A batch's transaction, from its first record to its end.",
            count_value=counts["batches"],
            sum_value=worker.commit_seconds,
        )
        yield SummaryMetricFamily(
            "izin_order_batch_records",
            "Records of a batch.",
            count_value=counts["batches"],
            sum_value=counts["records"],
        )
        yield _labelled(
            GaugeMetricFamily(
                "izin_order_lag", "Records not decided, of all partitions.", labels=["lane"]
            ),
            {lane: self._watch.lag(topic) for lane, topic in self._lanes.items()},
        )
        yield _labelled(
            GaugeMetricFamily(
                "izin_order_open_transaction_seconds",
                "For how long another producer's open transaction holds a partition back.",
                labels=["lane"],
            ),
            {lane: self._watch.held_for(topic) for lane, topic in self._lanes.items()},
        )
        for name, value, documentation in (
            ("partitions_ready", len(worker.ready), "Partitions acquired and caught up."),
            ("partitions_assigned", len(worker.assigned), "Partitions the group gave this worker."),
            ("partitions_paused", len(worker.paused), "Of these, ones whose opt-ins wait."),
            ("keys", worker.keys, "Consents in the state."),
            ("state_bytes", worker.state_bytes, "Their size, roughly, in memory or on disk."),
        ):
            yield GaugeMetricFamily(f"izin_order_{name}", documentation, value=value)


def _labelled(family: F, values: Mapping[str, float]) -> F:
    """Return ``family`` with a sample for each label's value."""
    for label, value in values.items():
        family.add_metric([label], value)
    return family
