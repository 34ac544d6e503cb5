"""The benchmark ``gate``: questions about single recipients, answered by the gate and by a bare
endpoint over a dict, in turn; and how soon the gate answers where they come at a fixed rate.

Server and client have a core each, and the broker has nothing to do.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks import ROOT
from benchmarks.gate.published import permissions, publish, publish_brand
from benchmarks.gate.questions import HOST
from benchmarks.process_usage import cpu_seconds
from benchmarks.results import RunReport, progress
from benchmarks.worker.installation import installation
from benchmarks.worker.probe import LatencySummary
from izin.local import Child, Command, free_port
from izin.runtime.settings import KafkaSettings

_PARTITIONS = 12
_BARE, _GATE = "bare Starlette", "gate"


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
class _Contender:
    name: str
    process: Child
    port: int


def gate(  # noqa: PLR0913, PLR0917  # options
    keys: Annotated[int, typer.Option(min=100, help="Keys that both know.")] = 100_000,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each trial.")] = 5,
    trials: Annotated[int, typer.Option(min=1, help="Of each, in turn; the median counts.")] = 5,
    connections: Annotated[int, typer.Option(min=1, help="Clients that ask at once.")] = 28,
    rate: Annotated[float, typer.Option(min=1, help="Questions a second, for the latency.")] = 1000,
    timed: Annotated[float, typer.Option(min=0.5, help="Seconds at this rate.")] = 30,
) -> RunReport:
    """Measure how many questions the gate answers, and how soon."""
    found: list[AnswerRate] = []
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("starting") as status,
        installation(Path(name), partitions=_PARTITIONS) as settings,
    ):
        publish(settings, settings.topics.permissions, permissions(keys))
        key = publish_brand(settings)
        with _running(settings, Path(name), keys) as contenders:
            for number in range(trials):
                status.update(f"trial {number + 1} of {trials}")
                found += [_ask(one, key, keys, seconds, 0, connections) for one in contenders]
            status.update(f"{rate:,.0f} questions a second")
            timing = _ask(contenders[-1], key, keys, timed, rate, 2 * connections)
    bare, ours = (_median(found, name) for name in (_BARE, _GATE))
    table = Table(title=f"Questions about one recipient of {keys:,}, median of {trials}")
    table.add_column("contender")
    for heading in ("questions/s", "p50, ms", "p99, ms", "CPU µs a question"):
        table.add_column(heading, justify="right")
    for one in (bare, ours, timing):
        name = f"gate at {rate:,.0f}/s" if one is timing else one.name
        times = (f"{value:.2f}" for value in (one.latency.p50, one.latency.p99))
        table.add_row(name, f"{one.per_second:,.0f}", *times, f"{one.cpu_us:.0f}")
    return RunReport(
        tables=[table],
        data={"keys": keys, "contenders": [asdict(one) for one in (*found, timing)]},
        figures={
            "gate-rate": ours.per_second / bare.per_second * 100,
            "gate-latency": timing.latency.p99,
        },
    )


def _median(found: Sequence[AnswerRate], name: str) -> AnswerRate:
    some = sorted((one for one in found if one.name == name), key=lambda one: one.per_second)
    return some[len(some) // 2]


@contextmanager
def _running(settings: KafkaSettings, folder: Path, keys: int) -> Iterator[Sequence[_Contender]]:
    """Run both contenders, which are ready."""
    port = free_port()
    argv: tuple[str, ...] = (
        sys.executable,
        "-m",
        "benchmarks.gate.bare_server",
        str(port),
        str(keys),
    )
    bare = _Contender(name=_BARE, process=_child("bare", argv, folder, port), port=port)
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
    ours = _Contender(name=_GATE, process=_child("gate", argv, folder, port), port=port)
    contenders = (bare, ours)
    try:
        for one in contenders:
            one.process.start()
        for one in contenders:
            one.process.wait_ready()
        yield contenders
    finally:
        for one in contenders:
            one.process.kill()


def _child(name: str, argv: Sequence[str], folder: Path, port: int) -> Child:
    return Child(
        Command(
            name=name,
            argv=tuple(argv),
            folder=ROOT,
            log=folder / f"{name}.log",
            ready=f"http://{HOST}:{port}/health/ready",
        )
    )


def _ask(  # noqa: PLR0913, PLR0917  # whom, what and how
    one: _Contender, key: str, keys: int, seconds: float, rate: float, connections: int
) -> AnswerRate:
    """Ask one contender; raises ValueError where an answer was a no."""
    used = cpu_seconds(one.process.pid or 0)
    words = (str(word) for word in (one.port, keys, seconds, rate, connections))
    argv = [sys.executable, "-m", "benchmarks.gate.load", *words]
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
