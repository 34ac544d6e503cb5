"""The benchmark ``gate-backlog``: the gate while an order worker drains a backlog.

How many questions it answers compared with a bare endpoint over a dict under the same drain, and
how soon an opt-out is a no: while the order worker has nothing to do, while there is none, and
amid the drain and the questions. The two contenders never run at once: the bare endpoint has an
installation of its own on the same broker, with the same backlog.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.gate.contenders import (
    AnsweringProcess,
    ask,
    bare_server,
    gate_server,
    running,
)
from benchmarks.gate.opt_outs import OptOutTimer
from benchmarks.gate.published import permissions, publish, publish_brand
from benchmarks.order.broker import publish as publish_dataset
from benchmarks.order.dataset import Dataset, DatasetShape
from benchmarks.order.timer import TrialError
from benchmarks.results import RunReport, progress
from benchmarks.worker.drain import DrainProgress
from benchmarks.worker.installation import installation
from benchmarks.worker.order_worker import order_worker
from izin.kafka import clients
from izin.local import Child
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition

_CONNECTIONS = 28
_WARM = 3
"""Opt-outs before those that count."""
_OPT_OUTS = 10_000
"""Recipients who may opt out, and about whom nobody else asks."""
_EVERY = 0.25
_IDLE, _ALONE, _DRAIN = "order worker idle", "order worker stopped", "under the drain"

OnProgress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainTrial:
    """What a contender has answered while a backlog was drained."""

    name: str
    questions: int
    seconds: float
    drained: float
    """Events a second that the order worker decided meanwhile."""

    @property
    def per_second(self) -> float:
        """Questions a second."""
        return self.questions / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainLoad:
    """What is drained, and what is asked meanwhile."""

    shape: DatasetShape
    keys: int
    opt_outs: int
    """Of each kind of measurement without a drain."""
    seconds: float
    """Of a trial; there are as many as there is time for."""


def gate_backlog(  # noqa: PLR0913, PLR0917  # options
    events: Annotated[
        int, typer.Option(min=1000, help="Events of the backlog on the bulk lane.")
    ] = 1_000_000,
    recipients: Annotated[int, typer.Option(min=1, help="Recipients of the backlog.")] = 200_000,
    keys: Annotated[int, typer.Option(min=100, help="Keys that are asked about.")] = 100_000,
    opt_outs: Annotated[int, typer.Option(min=1, help="Opt-outs without a drain.")] = 50,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of a trial under the drain.")] = 3,
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of every topic.")] = 4,
) -> RunReport:
    """Measure the gate while an order worker drains a backlog."""
    load = DrainLoad(
        shape=DatasetShape(events=events, recipients=recipients, partitions=partitions),
        keys=keys,
        opt_outs=opt_outs,
        seconds=seconds,
    )
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("starting") as status,
        installation(Path(name), partitions=partitions) as settings,
        installation(
            Path(name), partitions=partitions, bootstrap_servers=settings.bootstrap_servers
        ) as other,
    ):
        ours, closed = _measure_gate(settings, Path(name), load, status.update)
        bare = _measure_bare(other, Path(name), load, status.update)
    rates = Table(title=f"Questions about one recipient while {events:,} events are drained")
    for heading in ("contender", "questions/s", "events/s drained"):
        rates.add_column(heading, justify="right")
    for one in (bare, ours):
        rates.add_row(one.name, f"{one.per_second:,.0f}", f"{one.drained:,.0f}")
    times = Table(title="From an opt-out's publication until the gate says no")
    for heading in ("", "opt-outs", "median, ms", "slowest, ms"):
        times.add_column(heading, justify="right")
    for name, taken in closed.items():
        figures = (sorted(taken)[len(taken) // 2], max(taken))
        times.add_row(name, str(len(taken)), *(f"{1000 * one:.1f}" for one in figures))
    return RunReport(
        tables=[rates, times],
        data={
            "events": events,
            "keys": keys,
            "contenders": [asdict(bare), asdict(ours)],
            "closed_seconds": closed,
        },
        figures={
            "gate-drain": ours.per_second / bare.per_second * 100,
            "gate-opt-out-drain": max(closed[_DRAIN]),
            "gate-opt-out-idle": 1000 * max(closed[_IDLE]),
            "gate-opt-out-alone": 1000 * max(closed[_ALONE]),
        },
    )


def _measure_gate(
    settings: KafkaSettings, folder: Path, load: DrainLoad, on_progress: OnProgress
) -> tuple[DrainTrial, dict[str, list[float]]]:
    """Return what the gate answered under the drain, and by situation how many seconds each opt-out
    took.
    """
    on_progress("publishing permissions")
    publish(settings, settings.topics.permissions, permissions(load.keys + _OPT_OUTS))
    api_key = publish_brand(settings)
    gate, worker = gate_server(settings, folder), order_worker(settings, folder)
    numbers = iter(range(load.keys, load.keys + _OPT_OUTS))
    closed: dict[str, list[float]] = {}
    with running(gate), closing(OptOutTimer(settings, gate.port, api_key, numbers)) as timer:
        on_progress(_IDLE)
        with _working(worker):
            closed[_IDLE] = _close(timer, load.opt_outs)
        on_progress(_ALONE)
        closed[_ALONE] = _close(timer, load.opt_outs)
        on_progress("publishing the backlog")
        publish_dataset(Dataset(load.shape, Codec()), settings)
        timer.await_read(_ends(settings))
        on_progress("draining, asking the gate")
        with _working(worker), _closing(timer) as taken:
            trial = _ask_while_draining(settings, gate, api_key, load)
        closed[_DRAIN] = taken
    return trial, closed


def _measure_bare(
    settings: KafkaSettings, folder: Path, load: DrainLoad, on_progress: OnProgress
) -> DrainTrial:
    """Return what the bare endpoint answered under the same drain."""
    on_progress("publishing the backlog again")
    publish_dataset(Dataset(load.shape, Codec()), settings)
    bare, worker = bare_server(folder, load.keys), order_worker(settings, folder)
    on_progress("draining, asking the bare endpoint")
    with running(bare), _working(worker):
        return _ask_while_draining(settings, bare, "", load)


def _ask_while_draining(
    settings: KafkaSettings, one: AnsweringProcess, api_key: str, load: DrainLoad
) -> DrainTrial:
    """Ask until the backlog is drained; only what was answered before that counts.

    Raises:
        TrialError: the backlog did not last for one trial.
    """
    questions, asked, decided, drained = 0, 0.0, 0.0, 0.0
    with closing(DrainProgress(settings)) as drain:
        while True:
            share, began = drain.share, monotonic()
            found = ask(
                one, api_key, keys=load.keys, seconds=load.seconds, connections=_CONNECTIONS
            )
            after = drain.share
            if after >= 1:
                break
            if share > 0:
                questions, asked = questions + found.questions, asked + found.seconds
                decided, drained = decided + after - share, drained + monotonic() - began
    if not questions:
        raise TrialError("the backlog was drained before anything was measured: take more events")
    return DrainTrial(
        name=one.name,
        questions=questions,
        seconds=asked,
        drained=load.shape.events * decided / drained,
    )


@contextmanager
def _working(worker: Child) -> Iterator[None]:
    """Run an order worker, which owns every partition from the start."""
    try:
        worker.start()
        worker.wait_ready()
        yield
    finally:
        worker.kill()


def _close(timer: OptOutTimer, count: int) -> list[float]:
    """Return how many seconds each of so many opt-outs took, after a few that do not count."""
    return [timer.seconds() for _ in range(_WARM + count)][_WARM:]


@contextmanager
def _closing(timer: OptOutTimer) -> Iterator[list[float]]:
    """Have one recipient after another opt out until the context ends; yield what each took."""
    taken: list[float] = []
    over = threading.Event()

    def close() -> None:
        while not over.wait(_EVERY):
            taken.append(timer.seconds())

    with ThreadPoolExecutor(1) as threads:
        closing_all = threads.submit(close)
        try:
            yield taken
        finally:
            over.set()
    closing_all.result()


def _ends(settings: KafkaSettings) -> list[LogPosition]:
    """Return the last records of the bulk lane."""
    topic = settings.topics.events.name
    return [
        LogPosition(topic, number, end - 1)
        for number, end in clients.committed_ends(settings, topic).items()
        if end
    ]
