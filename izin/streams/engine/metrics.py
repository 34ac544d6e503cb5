"""The metrics of an order worker, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from izin.streams.ownership.effects import DEAD_LETTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from izin.streams.engine.worker import OrderWorker

_DECISIONS = ("Apply", "Enriched", "Stale", "Duplicate")
_TOTALS = ("opt-outs", "repartitioned", "records", "batches", "acquisitions", "aborted")


class WorkerMetrics(Collector):
    """Reads the worker's own counts on every scrape.

    ``lanes`` gives each lane's topic; ``end_of`` the end of a topic's partition, as of the last
    fetch.
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
        """Declare nothing in advance: the counts appear as they happen."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
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
            if name.startswith(DEAD_LETTER):
                dead.add_metric([name.removeprefix(DEAD_LETTER)], count)
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
            "izin_order_lag", "Records known of and not decided.", labels=["lane"]
        )
        for lane, topic in self._lanes.items():
            lag.add_metric([lane], sum(self._lag(topic, one) for one in self._worker.assigned))
        yield lag
        yield GaugeMetricFamily(
            "izin_order_partitions_ready",
            "Partitions acquired and caught up.",
            value=len(self._worker.ready),
        )
        yield GaugeMetricFamily(
            "izin_order_partitions_assigned",
            "Partitions the group gave this worker.",
            value=len(self._worker.assigned),
        )
        yield GaugeMetricFamily(
            "izin_order_keys", "Consents in the state.", value=self._worker.keys
        )
        yield GaugeMetricFamily(
            "izin_order_state_bytes",
            "Their size, roughly, in memory or on disk.",
            value=self._worker.state_bytes,
        )

    def _lag(self, topic: str, partition: int) -> int:
        end = self._end_of(topic, partition)
        decided = self._worker.next_offset(topic, partition)
        return 0 if end is None or decided is None else max(0, end - decided)
