"""The watches of an order worker: over itself, over its name, and over both lanes.

End a worker whose event loop hangs, or that is out of its group for good.

A commit may block the loop for its bounded time; a loop that hangs longer would keep its partitions
without deciding anything while the consumer's own thread keeps the group believing in it. Another
worker takes over at once when the process is gone, and the transaction left open is aborted by its
successor.

A worker may also lose its place in the group for good. Where a batch waited for its broker longer
than ``max_poll_interval`` when a rebalance began, aiokafka joins again only after the next poll,
and Faust polls only after it has joined (observed). Such a worker looks well and decides nothing.

While the whole process is frozen, nothing in it stalls: it goes on as soon as it is woken, for what
others took over meanwhile it gives up by itself.

End a worker in time after SIGTERM, even if its loop waits for a broker.

The current batch is committed and every partition released. But the loop may be inside a commit to
a broker that does not answer, and would see SIGTERM only after a timeout; the sender (systemd, a
container runtime) would kill the worker meanwhile. So a thread of its own receives the
signal, and ends the process when the time is over, or at a second signal. What was not
committed by then is aborted by the partition's next owner.

Tell the worker that came second under one ``IZIN_INSTANCE_ID``, and end it.

Under static membership whoever joins last replaces the member of its name: a worker that restarts
after a kill has its partitions back at once, though its former session has not ended. The broker
tells the one that was replaced, at its next heartbeat. If that one lives, it joins again, and two
workers of one name would replace each other each second, and each time acquire all partitions.

So who was replaced while its session was alive knows that another worker lives. The one that has
worked for longer stays: it joins again, as its client does, and alerts. The other one, replaced
twice within moments of its start, ends. A restart meets nobody, for the dead do not join again. One
that was frozen for longer than its session has lost its place, and counts as one that starts.

Look at both lanes as a whole: how much of them nobody decides, and what holds them back. The
metrics of an order worker, for Prometheus, have both, and its own counts.

A worker knows its own partitions alone, and of one that it could not acquire not even the end. So
the ends of all partitions are compared with the positions in ``order-positions``, whoever owns
them: whoever decides nothing anywhere shows a lag all the same.

A lane is read up to the first transaction that has not ended. Another producer's, left open, holds
back every opt-out behind it; where it stands for some seconds, a person is told how to end it.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel
from confluent_kafka.admin import OffsetSpec
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from izin.kafka import clients
from izin.kafka.clients import offsets
from izin.runtime.logs import EXIT, get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.streams.engine.gate import Lane
from izin.streams.engine.worker import OrderWorker
from izin.streams.ownership import DEAD_LETTER, DecidedOffsets

STALLED_AFTER = 20.0
OUTSIDE_FOR = 45.0
"""Longer than the group waits for its slowest member (``max_poll_interval``, 30 s)."""
EXIT_STALLED = 70
_CHECKS = 10
"""Within the limit."""

WITHIN = 4.5
"""Seconds from the signal to the end: under the five that a worker is given."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SESSION = 6.0
"""Seconds without a heartbeat after which the group gives a member up (``create_app``)."""
SETTLED_AFTER = 30.0
"""Seconds of work after which a worker is the one that stays."""
_TWICE = 2
"""Once may also be a coordinator that has forgotten a member."""
_UNKNOWN_MEMBER, _FENCED_INSTANCE = 25, 82
_REMEMBERED = 600.0

_log = get_logger(__name__)
HELD_AFTER = 5.0
"""For so many seconds a transaction may be open: those of common clients take less than one."""
_INTERVAL = 2.0
_DECISIONS = ("Apply", "Enriched", "Stale", "Duplicate")
_TOTALS = (
    ("izin_order_opt_outs", "Opt-outs that took effect.", "opt-outs"),
    ("izin_order_erased", "Keys erased.", "erased"),
    ("izin_order_suppressed", "Events of erased keys, which took no effect.", "suppressed"),
    ("izin_order_repartitioned", "Records sent on to their own partition.", "repartitioned"),
    ("izin_order_records", "Records read.", "records"),
    ("izin_order_batches", "Transactions committed.", "batches"),
    ("izin_order_acquisitions", "Partitions acquired.", "acquisitions"),
    ("izin_order_aborted", "Transactions aborted, and tried again.", "aborted"),
)


F = TypeVar("F", CounterMetricFamily, GaugeMetricFamily)


class Watchdog:
    """Watches, from a thread of its own, one event loop and whether it makes progress.

    ``limit`` is in seconds.
    """

    def __init__(
        self,
        *,
        limit: float = STALLED_AFTER,
        what: str = "event loop",
        is_progressing: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._limit = limit
        self._what = what
        self._is_progressing = is_progressing
        self._clock = clock
        self._end = end
        self._beat_at = self._checked_at = clock()
        self._stopped = threading.Event()

    async def beat(self) -> None:
        """Record progress until cancelled; runs on the watched loop."""
        while True:
            if self._is_progressing():
                self._beat_at = self._clock()
            await asyncio.sleep(self._limit / 20)

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def check(self) -> None:
        """End the process if there was no progress for ``limit`` seconds in which it ran: a check
        that comes late shows for how long it did not.
        """
        now = self._clock()
        frozen = max(0.0, now - self._checked_at - self._limit / _CHECKS)
        self._beat_at, self._checked_at = min(now, self._beat_at + frozen), now
        stalled = now - self._beat_at
        if stalled >= self._limit:
            _log.critical("worker stalled", what=self._what, seconds=round(stalled))
            self._end(EXIT_STALLED)

    def _watch(self) -> None:
        while not self._stopped.wait(self._limit / _CHECKS):
            self.check()


class BoundedShutdown:
    """Receives the signals that end this process, and ends it ``within`` seconds.

    Make it before any other thread is started: later threads inherit that these signals are
    blocked.
    """

    def __init__(self, *, within: float = WITHIN) -> None:
        self._within = within
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def watch(self, stop: Callable[[], object]) -> None:
        """Start listening; ``stop`` is called, in the listening thread, when a signal comes."""
        threading.Thread(target=self._listen, args=(stop,), name="ending", daemon=True).start()

    def _listen(self, stop: Callable[[], object]) -> None:
        signal.sigwait(_SIGNALS)
        stop()
        again = signal.sigtimedwait(_SIGNALS, self._within)
        _log.critical(
            "shutdown cut short",
            effect="the next owners of the partitions abort what is open",
            why="second signal" if again else "out of time",
        )
        os._exit(EXIT_STALLED)


class StaticMember:
    """One worker's membership under ``name``; ``note`` is called with each answer of the group's
    coordinator.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._name = name
        self._clock = clock
        self._end = end
        self._answered_at = self._begun_at = float("-inf")
        self._replaced_at = float("-inf")
        self._replaced = 0

    @property
    def is_contested(self) -> bool:
        """Whether another worker of this name was seen in the last ten minutes."""
        return self._clock() - self._replaced_at < _REMEMBERED

    def watch(self, coordinator: Any) -> None:  # noqa: ANN401  # aiokafka publishes no types
        """Note the answers that aiokafka's ``coordinator`` gets from now on."""
        ask = coordinator._send_req  # noqa: SLF001  # no public way sees them

        async def send(request: Any) -> Any:  # noqa: ANN401  # the same
            response = await ask(request)
            code = getattr(response, "error_code", None)
            if code == _FENCED_INSTANCE:  # aiokafka does not know it: the member joins again
                response.error_code = _UNKNOWN_MEMBER
            self.note(code)
            return response

        coordinator._send_req = send  # noqa: SLF001  # the same

    def note(self, code: int | None) -> None:
        """Note the error code of an answer; 0: the member is known."""
        now = self._clock()
        has_session = now - self._answered_at <= SESSION
        if code == 0:
            if not has_session:
                self._begun_at, self._replaced = now, 0
            self._answered_at = now
        elif code in {_UNKNOWN_MEMBER, _FENCED_INSTANCE} and has_session:
            self._replaced_at = now
            self._replaced += 1
            is_second = now - self._begun_at < SETTLED_AFTER
            if is_second and self._replaced < _TWICE:
                return
            _log.critical(
                "instance id in use already" if is_second else "instance id in use twice",
                instance_id=self._name,
                effect="another order worker of this group has it; this one ends"
                if is_second
                else "this worker was here first and goes on; the other one is ended",
                remedy="give each order worker an IZIN_INSTANCE_ID of its own, or none",
            )
            if is_second:
                self._end(EXIT)


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
        self._admin = clients.admin(settings)
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
        stable_for = [now - since for lane, (_, since) in self._stable.items() if lane[0] == topic]
        return max(stable_for, default=0.0)

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
        at, topics, latest = decided.read(), self._settings.topics, OffsetSpec.latest()
        lanes = [
            (topic.name, number)
            for topic in (topics.events, topics.express)
            for number in range(self._settings.partitions)
        ]
        stable = offsets(self._admin, lanes, latest, IsolationLevel.READ_COMMITTED)
        starts = offsets(self._admin, lanes, OffsetSpec.earliest())
        ends = offsets(self._admin, lanes, latest)
        for lane, end in ends.items():
            self._decided[lane] = max(at.get(lane, 0), starts[lane])
            self._note(lane, stable[lane], end)
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
        for name, documentation, what in _TOTALS:
            yield CounterMetricFamily(name, documentation, value=counts[what])
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
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        worker = self._worker
        for name, documentation, value in (
            (
                "izin_order_partitions_ready",
                "Partitions acquired and caught up.",
                len(worker.ready),
            ),
            (
                "izin_order_partitions_assigned",
                "Partitions the group gave this worker.",
                len(worker.assigned),
            ),
            (
                "izin_order_partitions_paused",
                "Of these, ones whose opt-ins wait.",
                len(worker.paused),
            ),
            ("izin_order_keys", "Consents in the state.", worker.keys),
            (
                "izin_order_state_bytes",
                "Their size, roughly, in memory or on disk.",
                worker.state_bytes,
            ),
        ):
            yield GaugeMetricFamily(name, documentation, value=value)


def _labelled(family: F, values: Mapping[str, float]) -> F:
    """Return ``family`` with a sample for each label's value."""
    for label, value in values.items():
        family.add_metric([label], value)
    return family
