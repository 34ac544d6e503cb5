"""The gate and the bare endpoint that it is compared with, each in a process of its own, and what
they answer.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT
from benchmarks.gate.questions import HOST
from benchmarks.process_usage import cpu_seconds
from benchmarks.worker.probe import LatencySummary
from izin.local import Child, Command, free_port
from izin.runtime.settings import KafkaSettings

BARE, GATE = "bare Starlette", "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRate:
    """What one contender has answered in one trial."""

    name: str
    questions: int
    seconds: float
    cpu_us: float
    """Of its process, for a question."""
    latency: LatencySummary

    @property
    def per_second(self) -> float:
        """Questions a second."""
        return self.questions / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweringProcess:
    """A process that answers on a port."""

    name: str
    process: Child
    port: int


def bare_server(folder: Path, keys: int) -> AnsweringProcess:
    """Return the bare endpoint, not yet started, which knows so many keys."""
    port = free_port()
    argv = (sys.executable, "-m", "benchmarks.gate.bare_server", str(port), str(keys))
    return AnsweringProcess(name=BARE, process=child("bare", argv, folder, port), port=port)


def gate_server(settings: KafkaSettings, folder: Path) -> AnsweringProcess:
    """Return the gate, not yet started."""
    port = free_port()
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": settings.partitions,
        "IZIN_KAFKA_LOG_LEVEL": settings.client_log_level,
        "IZIN_GATE_PORT": port,
        "IZIN_GATE_OPERATIONS_PORT": free_port(),
    }
    given = (f"{name}={value}" for name, value in environment.items())
    argv = ("env", "-u", "SCHEMA_REGISTRY_URL", *given, sys.executable, "-m", "izin.gate")
    return AnsweringProcess(name=GATE, process=child("gate", argv, folder, port), port=port)


@contextmanager
def running(*contenders: AnsweringProcess) -> Iterator[None]:
    """Run ``contenders``, which are ready from the start."""
    try:
        for one in contenders:
            one.process.start()
        for one in contenders:
            one.process.wait_ready()
        yield
    finally:
        for one in contenders:
            one.process.kill()


def child(name: str, argv: Sequence[str], folder: Path, port: int) -> Child:
    """Return a process that answers on ``port`` once it is ready, not yet started."""
    return Child(
        Command(
            name=name,
            argv=tuple(argv),
            folder=ROOT,
            log=folder / f"{name}.log",
            ready=f"http://{HOST}:{port}/health/ready",
        )
    )


def ask(  # noqa: PLR0913  # whom, what and how
    one: AnsweringProcess,
    key: str,
    *,
    keys: int,
    seconds: float,
    connections: int,
    rate: float = 0,
    load: str = "benchmarks.gate.load",
) -> AnswerRate:
    """Ask one contender about single recipients of so many, for ``seconds``: ``rate`` questions a
    second, or as many as ``connections`` take. The module ``load`` asks.

    Raises:
        ValueError: an answer was a no.
    """
    used = cpu_seconds(one.process.pid or 0)
    words = (str(word) for word in (one.port, keys, seconds, rate, connections))
    argv = [sys.executable, "-m", load, *words]
    ended = subprocess.run(  # noqa: S603  # our own module
        argv, input=key, capture_output=True, check=True, cwd=ROOT, text=True
    )
    found = json.loads(ended.stdout)
    if found["denied"]:
        raise ValueError(f"{one.name} has not said yes {found['denied']:,} times")
    count = len(found["latencies"])
    return AnswerRate(
        name=one.name,
        questions=count,
        seconds=found["seconds"],
        cpu_us=(cpu_seconds(one.process.pid or 0) - used) / max(found["asked"], 1) * 1e6,
        latency=LatencySummary.of(one.name, found["latencies"]),
    )
