"""Look at both lanes as a whole: how much of them nobody decides, and what holds them back. The
metrics of an order worker, for Prometheus, have both, and its own counts.

A worker knows its own partitions alone, and of one that it could not acquire not even the end. So
the ends of all partitions are compared with the positions in ``order-positions``, whoever owns
them: whoever decides nothing anywhere shows a lag all the same.

A lane is read up to the first transaction that has not ended. Another producer's, left open, holds
back every opt-out behind it; where it stands for some seconds, a person is told how to end it.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import TypeVar

from confluent_kafka import IsolationLevel
from confluent_kafka.admin import OffsetSpec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from izin.runtime import kafka
from izin.runtime.logs import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import offsets
from izin.schemas.codec import Codec
from izin.streams.engine.gate import Lane
from izin.streams.engine.worker import OrderWorker
from izin.streams.ownership import DEAD_LETTER, DecidedOffsets

HELD_AFTER = 5.0
"""For so many seconds a transaction may be open: those of common clients take less than one."""
_INTERVAL = 2.0
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

_log = get_logger(__name__)

F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)


class LaneWatch:
    """Compares ends, positions and last stable offsets of all partitions of ``lanes``.

    ``next_offset`` is what the worker itself has decided of a lane, which positions follow a moment
    later.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        *,
        next_offset: Callable[[str, int], int | None] = lambda _topic, _number: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ends: Mapping[Lane, int] = {}
        """The end of each partition, behind transactions that have not ended."""
        self._settings = settings
        self._codec = codec
        self._next_offset = next_offset
        self._clock = clock
        self._admin = kafka.admin(settings)
        self._decided: dict[Lane, int] = {}
        self._stable: dict[Lane, tuple[int, float]] = {}
        """Of each partition with an open transaction: its offset, and since when it stands."""
        self._reported: Mapping[str, str] = {}

    def lag(self, topic: str) -> int:
        """Return how many records of a lane are not decided, of all partitions."""
        return sum(
            max(0, end - max(self._decided.get(lane, 0), self._next_offset(*lane) or 0))
            for lane, end in self.ends.items()
            if lane[0] == topic
        )

    def held_for(self, topic: str) -> float:
        """Return for how many seconds the oldest open transaction of a lane stands."""
        now = self._clock()
        standing = [now - since for lane, (_, since) in self._stable.items() if lane[0] == topic]
        return max(standing, default=0.0)

    def held(self, numbers: Collection[int]) -> Mapping[str, str]:
        """Return which of the partitions ``numbers`` are held back for too long, each with the
        command that ends the transaction.
        """
        now, servers = self._clock(), self._settings.bootstrap_servers
        return {
            f"{topic}[{number}]": f"an open transaction holds back what follows; to end it: "
            f"kafka-transactions.sh --bootstrap-server {servers} abort --topic {topic} "
            f"--partition {number} --start-offset {at}"
            for (topic, number), (at, since) in tuple(self._stable.items())
            if number in numbers and now - since >= HELD_AFTER
        }

    async def run(self, assigned: Callable[[], Collection[int]]) -> None:
        """Look every two seconds until cancelled, and alert for the ``assigned`` partitions."""
        said = ""
        with closing(DecidedOffsets(self._settings, self._codec)) as decided:
            while True:
                try:
                    await in_daemon_thread(lambda: self.look(decided), name="lane-watch")
                    said = ""
                except Exception as error:  # noqa: BLE001  # it only watches
                    if said != repr(error):
                        said = repr(error)
                        _log.warning("lanes not read", error=said)
                self.report(assigned())
                await asyncio.sleep(_INTERVAL)

    def look(self, decided: DecidedOffsets) -> None:
        """Read ends and positions once; raises KafkaException, BrokerError."""
        at, numbers, latest = decided.read(), range(self._settings.partitions), OffsetSpec.latest()
        ends: dict[Lane, int] = {}
        for topic in (self._settings.topics.events.name, self._settings.topics.express.name):
            stable = offsets(self._admin, topic, numbers, latest, IsolationLevel.READ_COMMITTED)
            starts = offsets(self._admin, topic, numbers, OffsetSpec.earliest())
            for number, end in offsets(self._admin, topic, numbers, latest).items():
                lane = topic, number
                ends[lane] = end
                self._decided[lane] = max(at.get(lane, 0), starts[number])
                self._note(lane, stable[number], end)
        self.ends = ends

    def report(self, numbers: Collection[int]) -> None:
        """Alert once for each transaction that holds back one of the partitions ``numbers``."""
        held = self.held(numbers)
        for place in {name for name, what in held.items() if self._reported.get(name) != what}:
            _log.critical(
                "lane held back by an open transaction",
                partition=place,
                effect="opt-outs behind it are not decided; the gate closes meanwhile",
                remedy=held[place],
            )
        self._reported = held

    def _note(self, lane: Lane, stable: int, end: int) -> None:
        known = self._stable.pop(lane, (end, 0.0))
        if stable < end:
            self._stable[lane] = known if known[0] == stable else (stable, self._clock())


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
