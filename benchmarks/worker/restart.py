"""The benchmark ``restart``: how long a worker with one large partition needs until it is ready.

Real workers on a real Kafka, from their start until ``/health`` says that both partitions are owned
and fresh: with an existing state on disk, also after a kill, and with the topic alone. During
a cold start the other partition must keep being processed, which probes check.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from time import perf_counter, sleep
from typing import Annotated

import httpx
import typer
from rich.table import Table

from benchmarks.process_usage import cpu_seconds, peak_megabytes
from benchmarks.results import RunReport
from benchmarks.worker.installation import BrokerOption, measuring
from benchmarks.worker.order_worker import order_worker
from benchmarks.worker.probe import LatencySummary, Probe
from benchmarks.worker.sample_consents import sample_consents
from izin.kafka import clients
from izin.local import Child
from izin.runtime.settings import KafkaSettings, StateKind
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro

PARTITIONS = 2
_LARGE, _OTHER = range(PARTITIONS)
_BATCH = 10_000
_INTERVAL = 0.025
_POLL_INTERVAL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStart:
    """One start of a worker."""

    name: str
    is_cold: bool
    """Whether it had nothing but the topic."""
    seconds: float
    """Until it was ready."""
    cpu: float
    """How many of them it computed."""
    peak_mb: float
    flow: LatencySummary | None
    """How the other partition flowed from when it was owned until the large one was too; None where
    both were owned at once, and where it was not probed."""


def restart(
    keys: Annotated[int, typer.Option(min=1000, help="Keys of the partition.")] = 2_000_000,
    state: Annotated[
        list[StateKind] | None, typer.Option(help="Only this kind of state; may be repeated.")
    ] = None,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure how long a worker needs until it is ready, and the latency of other partitions."""
    with measuring(PARTITIONS, bootstrap_servers) as (settings, folder, show):
        found = measure(
            settings,
            folder,
            keys=keys,
            kinds=state or tuple(StateKind),
            on_progress=show,
        )
    return RunReport(
        tables=[_table(found, f"Ready again, {keys:,} keys in one partition")],
        data={"keys": keys, "unit": "s", "starts": [asdict(one) for one in found]},
        figures=figures(found),
    )


def figures(found: Sequence[WorkerStart]) -> Mapping[str, float | None]:
    """Return the slowest warm and the slowest cold start, None where there was none."""
    return {
        "restart-warm": max((one.seconds for one in found if not one.is_cold), default=None),
        "restart-cold": max((one.seconds for one in found if one.is_cold), default=None),
    }


def measure(
    settings: KafkaSettings,
    folder: Path,
    *,
    keys: int,
    kinds: Sequence[StateKind] = tuple(StateKind),
    on_progress: Callable[[str], None] = lambda _: None,
) -> Sequence[WorkerStart]:
    """Return each start over ``keys`` keys with states of ``kinds``.

    The installation has ``PARTITIONS`` partitions; the workers end with it.
    """
    on_progress("writing consents")
    _write(settings, keys)
    found = []

    def start(name: str, kind: StateKind, end: Callable[[Child], None], *, cold: bool) -> None:
        on_progress(name)
        worker = order_worker(settings, folder, state=kind)
        try:
            found.append(_started(worker, name, settings, cold=cold))
        finally:
            end(worker)

    if StateKind.MEMORY in kinds:
        start("memory, from the topic", StateKind.MEMORY, Child.kill, cold=True)
    if StateKind.ROCKSDB in kinds:
        start("RocksDB, from the topic", StateKind.ROCKSDB, Child.stop, cold=True)
        start("RocksDB, on disk", StateKind.ROCKSDB, Child.kill, cold=False)
        start("RocksDB, on disk after a kill", StateKind.ROCKSDB, Child.stop, cold=False)
    return found


def _started(worker: Child, name: str, settings: KafkaSettings, *, cold: bool) -> WorkerStart:
    """Start ``worker`` and return its timing; raises StartError."""
    began = perf_counter()
    worker.start()
    with ThreadPoolExecutor(1) as threads:
        ready = threads.submit(_ready_at, worker)
        flow = _flow(settings, worker, ready) if cold else None
        seconds = ready.result() - began
    pid = worker.pid or 0
    return WorkerStart(
        name=name,
        is_cold=cold,
        seconds=seconds,
        cpu=cpu_seconds(pid),
        peak_mb=peak_megabytes(pid),
        flow=flow,
    )


def _ready_at(worker: Child) -> float:
    worker.wait_ready()
    return perf_counter()


def _flow(settings: KafkaSettings, worker: Child, ready: Future[float]) -> LatencySummary | None:
    """Probe the other partition from when it is owned until all is ``ready``."""
    while _OTHER not in _owned(worker):
        if ready.done():
            return None
        sleep(_POLL_INTERVAL)
    with Probe(settings, Codec(), partition=_OTHER) as probe:
        taken = probe.run(
            settings.topics.events.name,
            every=_INTERVAL,
            random=Random(2026),
            should_continue=lambda _: not ready.done(),
        )
    seconds = taken[settings.topics.desired_consents.name]
    return LatencySummary.of("the other partition", seconds) if seconds else None


def _owned(worker: Child) -> Sequence[int]:
    try:
        health = httpx.get(str(worker.command.ready), timeout=2, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return ()
    owned: Sequence[int] = health["ready"]
    return owned


def _write(settings: KafkaSettings, keys: int) -> None:
    producer, codec = clients.producer(settings, **{"linger.ms": 50}), Codec()
    for number, one in enumerate(sample_consents(keys, rng=Random(2026))):
        producer.produce(
            settings.topics.desired_consents.name,
            key=one.key.encode(),
            value=codec.encode("Consent", consent_to_avro(one)),
            partition=_LARGE,
        )
        if number % _BATCH == 0:
            producer.flush()
    producer.flush()


def _table(found: Sequence[WorkerStart], title: str) -> Table:
    table = Table(title=title)
    table.add_column("state")
    for heading in ("ready after, s", "of it CPU, s", "peak MB", "beside it: p50, p99, most, ms"):
        table.add_column(heading, justify="right")
    for one in found:
        flow = one.flow
        beside = "" if flow is None else f"{flow.p50:.0f}, {flow.p99:.0f}, {flow.most:.0f}"
        table.add_row(
            one.name, f"{one.seconds:.1f}", f"{one.cpu:.1f}", f"{one.peak_mb:,.0f}", beside
        )
    return table
