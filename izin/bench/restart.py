"""How long a worker with one large partition needs until it is ready again, on a real Kafka.

Real workers, from their start until ``/health`` says that the partition is held and fresh: with the
state of before on disk, after a kill too, and with nothing but the topic. The bars are 3 seconds
and 30.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from shutil import rmtree
from time import perf_counter
from typing import TYPE_CHECKING

from izin.bench.consents import consents
from izin.bench.track import cpu_seconds
from izin.local import Child, Command, Kafka, free_port
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings, StateKind
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_BATCH = 10_000
_WITHIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a worker: the seconds until it was ready, and how many of them it computed."""

    name: str
    seconds: float
    cpu: float


def restarts(
    *, keys: int, folder: Path, progress: Callable[[str], None] = lambda _: None
) -> Sequence[Start]:
    """Return how long each start takes over ``keys`` keys; Kafka and workers end with it."""
    with Kafka(folder, java_options=()) as server:
        settings = KafkaSettings(bootstrap_servers=server.bootstrap_servers, partitions=1)
        progress("writing consents")
        _write(settings, keys)
        return _starts(settings, folder, progress)


def _starts(
    settings: KafkaSettings, folder: Path, progress: Callable[[str], None]
) -> Sequence[Start]:
    found = []

    port = free_port()

    def start(name: str, kind: StateKind, end: Callable[[Child], None]) -> None:
        progress(name)
        worker = _worker(settings, kind, folder, port)
        began = perf_counter()
        worker.start()
        try:
            worker.wait_ready()
            seconds = perf_counter() - began
            found.append(Start(name=name, seconds=seconds, cpu=cpu_seconds(worker.pid or 0)))
        finally:
            end(worker)

    start("memory, from the topic", StateKind.MEMORY, Child.stop)
    start("RocksDB, from the topic", StateKind.ROCKSDB, Child.stop)
    start("RocksDB, kept", StateKind.ROCKSDB, Child.kill)
    start("RocksDB, kept through a kill", StateKind.ROCKSDB, Child.stop)
    rmtree(folder / "state")
    return found


def _worker(settings: KafkaSettings, kind: StateKind, folder: Path, port: int) -> Child:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_PARTITIONS": settings.partitions,
        "IZIN_INSTANCE_ID": "bench",
        "IZIN_STREAM_PORT": port,
        "IZIN_STATE": kind,
        "IZIN_STATE_FOLDER": folder / "state",
    }
    return Child(
        Command(
            name="order worker",
            argv=(
                "env",
                *(f"{name}={value}" for name, value in environment.items()),
                sys.executable,
                "-m",
                "izin.streams",
            ),
            log=folder / "worker.log",
            ready=f"http://127.0.0.1:{port}/health",
            ready_within=_WITHIN,
        )
    )


def _write(settings: KafkaSettings, keys: int) -> None:
    kafka.ensure_topics(settings)
    producer, codec = kafka.producer(settings, **{"linger.ms": 50}), Codec()
    for number, one in enumerate(consents(keys, rng=Random(2026))):
        producer.produce(
            settings.topics.consents.name,
            key=one.key.encode(),
            value=codec.encode("Consent", consent_to_avro(one)),
            partition=0,
        )
        if number % _BATCH == 0:
            producer.flush()
    producer.flush()
