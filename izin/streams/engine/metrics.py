"""What an order worker shows of itself, in Prometheus's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from izin.streams.ownership.effects import DEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from izin.streams.engine.worker import OrderWorker

_DECISIONS = ("Apply", "Enriched", "Stale", "Duplicate")
_TOTALS = ("opt-outs", "refiled", "records", "batches", "acquisitions", "aborted")


class WorkerMetrics(Collector):
    """Reads the worker's own counts whenever somebody asks.

    ``lanes`` names by lane its topic; ``end_of`` tells where a partition of a topic ends, as far as
    the last fetch knew.
    """

    def __init__(
        self,
        worker: OrderWorker,
        lanes: Mapping[str, str],
        end_of: Callable[[str, int], int | None],
    ) -> None:
        self._worker = worker
        self._lanes = lanes
        self._end_of = end_of
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        """Declare nothing ahead: the counts appear as they happen."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they stand."""
        counts = self._worker.counts
        decisions = CounterMetricFamily(
            "izin_order_decisions", "Events decided, by kind.", labels=["kind"]
        )
        for kind in _DECISIONS:
            decisions.add_metric([kind.lower()], counts[kind])
        yield decisions
        dead = CounterMetricFamily(
            "izin_order_dead_letters", "Records that became no decision.", labels=["reason"]
        )
        for name, count in counts.items():
            if name.startswith(DEAD):
                dead.add_metric([name.removeprefix(DEAD)], count)
        yield dead
        for name in _TOTALS:
            yield CounterMetricFamily(
                f"izin_order_{name.replace('-', '_')}", f"Total {name}.", value=counts[name]
            )
        yield SummaryMetricFamily(
            "izin_order_commit_seconds",
            "A batch's transaction, from its first record to its end.",
            count_value=counts["batches"],
            sum_value=self._worker.commit_seconds,
        )
        yield SummaryMetricFamily(
            "izin_order_batch_records",
            "Records of a batch.",
            count_value=counts["batches"],
            sum_value=counts["records"],
        )
        lag = GaugeMetricFamily(
            "izin_order_lag", "Records fetched or known of, and not decided.", labels=["lane"]
        )
        for lane, topic in self._lanes.items():
            lag.add_metric([lane], sum(self._lag(topic, one) for one in self._worker.assigned))
        yield lag
        yield GaugeMetricFamily(
            "izin_order_partitions_ready",
            "Partitions held and fresh.",
            value=len(self._worker.ready),
        )
        yield GaugeMetricFamily(
            "izin_order_partitions_assigned",
            "Partitions the group gave this worker.",
            value=len(self._worker.assigned),
        )
        yield GaugeMetricFamily(
            "izin_order_keys", "Consents held in state.", value=self._worker.keys_held
        )
        yield GaugeMetricFamily(
            "izin_order_state_bytes",
            "What they take, about, in memory or on disk.",
            value=self._worker.bytes_held,
        )

    def _lag(self, topic: str, partition: int) -> int:
        end = self._end_of(topic, partition)
        decided = self._worker.next_offset(topic, partition)
        return 0 if end is None or decided is None else max(0, end - decided)
