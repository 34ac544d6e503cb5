"""The benchmark ``profile``: what the order worker's CPU time goes into, in µs an event.

One worker with everything on drains a backlog; ``timed_worker`` counts its steps. How much of a
fold is reading and deciding, and how much encoding what is written of it, is measured on the same
events without Kafka.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.cpu_timing import compare
from benchmarks.order.broker import publish
from benchmarks.order.dataset import BEGAN, Dataset, DatasetShape
from benchmarks.order.timer import TrialError
from benchmarks.results import RunReport, progress
from benchmarks.worker import timed_worker
from benchmarks.worker.installation import (
    BrokerOption,
    PartitionsOption,
    RecipientsOption,
    measuring,
)
from benchmarks.worker.order_worker import order_worker
from benchmarks.worker.timed_worker import ALL, BATCH, COMPRESS, EVENTS, FETCH, FOLD
from izin.consent import DecisionKind
from izin.local import Child
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.streams.fast_path.simple_events import SimpleEventReader, decide_simple
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.ownership import Effects
from izin.streams.state.state import MemoryState

_OFFLINE = 50_000
_TRIALS = 5
_SLICE = 250
_YEAR = timedelta(days=365)
"""After the dataset's events: they are appended when they are published."""


def profile(
    events: Annotated[int, typer.Option(min=1000, help="Events of the backlog.")] = 1_000_000,
    recipients: RecipientsOption = 200_000,
    partitions: PartitionsOption = 4,
    limit: Annotated[int, typer.Option(min=5, help="Seconds that the worker may take.")] = 300,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure the CPU time of each step of an order worker that drains a backlog."""
    shape = DatasetShape(events=events, recipients=recipients, partitions=partitions)
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        show("publishing")
        publish(Dataset(shape, Codec()), settings)
        show("draining")
        file = folder / "steps.json"
        worker = order_worker(
            settings, folder, program=(timed_worker.__name__, str(events), str(file))
        )
        try:
            worker.start()
            spent = _wait(worker, file, timedelta(seconds=limit))
        finally:
            worker.kill()
    with progress().status("folding without Kafka"):
        steps = _steps(spent, decided=_share_decided(shape))
    return RunReport(
        tables=[_table(steps, f"CPU of one order worker, {events:,} events, everything on")],
        data={"events": events, "partitions": partitions, "unit": "µs an event", "steps": steps},
        figures={"order-fetch": steps["fetch and unpack"]},
    )


def _wait(worker: Child, file: Path, limit: timedelta) -> Mapping[str, float]:
    """Return what the worker wrote to ``file`` once it is there; raises TrialError."""
    until = time.monotonic() + limit.total_seconds()
    while not file.exists() and worker.is_alive and time.monotonic() < until:
        time.sleep(0.2)  # to look without a pause would use the CPU that is measured
    if not file.exists():
        raise TrialError(f"the worker wrote no profile: {worker.log_tail(3)}")
    found: Mapping[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return found


def _steps(spent: Mapping[str, float], *, decided: float) -> Mapping[str, float]:
    """Return µs an event by step, whose sum is the last; ``decided`` is a share of the fold."""
    each = {step: seconds / spent[EVENTS] * 1e6 for step, seconds in spent.items()}
    named = (FETCH, FOLD, BATCH, COMPRESS)
    return {
        "fetch and unpack": each[FETCH],
        "fold: read, decide, pack": each[FOLD] * decided,
        "fold: encode": each[FOLD] * (1 - decided),
        "write: batches": each[BATCH],
        "write: LZ4": each[COMPRESS],
        "the rest": each[ALL] - sum(each[step] for step in named),
        "all": each[ALL],
    }


def _share_decided(shape: DatasetShape) -> float:
    """Return the share of the fold without what is written."""
    records = list(islice(_records(shape), _OFFLINE))
    whole, decided = (
        one.median
        for one in compare(
            {"fold": lambda: _fold(records), "decide": lambda: _decide(records)},
            steps=len(records),
            trials=_TRIALS,
        )
    )
    return decided / whole


def _records(shape: DatasetShape) -> Iterator[FetchedRecord]:
    """Yield the records of the dataset as of one partition that has all keys."""
    at = int((BEGAN + _YEAR).timestamp() * 1000)
    topic = Topics().events.name
    for offset, one in enumerate(Dataset(shape, Codec()).records()):
        headers = [
            (name, value.encode() if isinstance(value, str) else value)
            for name, value in one.headers
        ]
        yield FetchedRecord(topic, 0, offset, at, one.key, one.value, headers)


def _fold(records: Sequence[FetchedRecord]) -> None:
    stage, state = OrderStage(topics=Topics(), partitions=1, codec=Codec()), MemoryState()
    for start in range(0, len(records), _SLICE):
        effects = stage.fold(0, records[start : start + _SLICE], state, Effects())
        state.apply(effects.changes, 0)


def _decide(records: Sequence[FetchedRecord]) -> None:
    """Do what a fold does of simple events, up to where something is written."""
    reader, state = SimpleEventReader(Codec()), MemoryState()
    for record in records:
        event = reader.read(record)
        if event is None:
            continue
        key = record.key or b""
        decision = decide_simple(event, state.packed(key), state.packing)
        if decision is not None and decision.kind is DecisionKind.APPLY:
            state.apply({key: decision.pack(state.packing)}, 0)


def _table(steps: Mapping[str, float], title: str) -> Table:
    table = Table(title=title)
    table.add_column("step")
    table.add_column("µs an event", justify="right")
    for step, spent in steps.items():
        table.add_row(step, f"{spent:.2f}")
    return table
