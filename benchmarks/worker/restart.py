"""How long a worker with one large partition needs until it is ready again, on a real Kafka.

Real workers, from their start until ``/health`` says that both partitions are held and fresh: with
the state of before on disk, after a kill too, and with nothing but the topic. The bars are 3
seconds and 30. From a cold start the other partition must keep flowing: probes of it tell.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from time import perf_counter, sleep
from typing import TYPE_CHECKING

import httpx

from benchmarks.process_usage import cpu_seconds, peak_megabytes
from benchmarks.worker.order_worker import order_worker
from benchmarks.worker.probe import Latency, Probe
from benchmarks.worker.sample_consents import consents
from izin.local import Child
from izin.runtime import kafka
from izin.runtime.settings import StateKind
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from izin.runtime.settings import KafkaSettings

PARTITIONS = 2
_LARGE, _OTHER = range(PARTITIONS)
_BATCH = 10_000
_EVERY = 0.025
_LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a worker."""

    name: str
    seconds: float
    """Until it was ready."""
    cpu: float
    """How many of them it computed."""
    peak_mb: float
    flow: Latency | None
    """How the other partition flowed from when it was held until the large one was too; None where
    both were held at once, and where it was not asked."""


def restarts(
    settings: KafkaSettings,
    folder: Path,
    *,
    keys: int,
    kinds: Sequence[StateKind] = tuple(StateKind),
    progress: Callable[[str], None] = lambda _: None,
) -> Sequence[Start]:
    """Return how long each start takes over ``keys`` keys with states of ``kinds``, in topics of
    ``PARTITIONS``; the workers end with it.
    """
    progress("writing consents")
    _write(settings, keys)
    found = []

    def start(name: str, kind: StateKind, end: Callable[[Child], None], *, cold: bool) -> None:
        progress(name)
        worker = order_worker(settings, folder, state=kind)
        try:
            found.append(_started(worker, name, settings, probed=cold))
        finally:
            end(worker)

    if StateKind.MEMORY in kinds:
        start("memory, from the topic", StateKind.MEMORY, Child.kill, cold=True)
    if StateKind.ROCKSDB in kinds:
        start("RocksDB, from the topic", StateKind.ROCKSDB, Child.stop, cold=True)
        start("RocksDB, kept", StateKind.ROCKSDB, Child.kill, cold=False)
        start("RocksDB, kept through a kill", StateKind.ROCKSDB, Child.stop, cold=False)
    return found


def _started(worker: Child, name: str, settings: KafkaSettings, *, probed: bool) -> Start:
    """Start ``worker`` and return how that went; raises StartError."""
    began = perf_counter()
    worker.start()
    with ThreadPoolExecutor(1) as threads:
        ready = threads.submit(_ready_at, worker)
        flow = _flow(settings, worker, ready) if probed else None
        seconds = ready.result() - began
    pid = worker.pid or 0
    return Start(
        name=name, seconds=seconds, cpu=cpu_seconds(pid), peak_mb=peak_megabytes(pid), flow=flow
    )


def _ready_at(worker: Child) -> float:
    worker.wait_ready()
    return perf_counter()


def _flow(settings: KafkaSettings, worker: Child, ready: Future[float]) -> Latency | None:
    """Probe the other partition from when it is held until all is ``ready``."""
    while _OTHER not in _held(worker):
        if ready.done():
            return None
        sleep(_LOOK_EVERY)
    with Probe(settings, Codec(), partition=_OTHER) as probe:
        taken = probe.run(
            settings.topics.events.name,
            every=_EVERY,
            random=Random(2026),
            going_on=lambda _: not ready.done(),
        )
    seconds = taken[settings.topics.consents.name]
    return Latency.of("the other partition", seconds) if seconds else None


def _held(worker: Child) -> Sequence[int]:
    try:
        told = httpx.get(str(worker.command.ready), timeout=2, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return ()
    held: Sequence[int] = told["ready"]
    return held


def _write(settings: KafkaSettings, keys: int) -> None:
    producer, codec = kafka.producer(settings, **{"linger.ms": 50}), Codec()
    for number, one in enumerate(consents(keys, rng=Random(2026))):
        producer.produce(
            settings.topics.consents.name,
            key=one.key.encode(),
            value=codec.encode("Consent", consent_to_avro(one)),
            partition=_LARGE,
        )
        if number % _BATCH == 0:
            producer.flush()
    producer.flush()
