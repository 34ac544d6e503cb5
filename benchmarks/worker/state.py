"""The benchmark ``state``: memory for a million keys, and time for one, of each kind of state.

A dict of whole consents is the simplest implementation.
"""

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import thread_time
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.cpu_timing import CpuTiming, compare
from benchmarks.results import RunReport, progress
from benchmarks.worker.sample_consents import sample_consents
from izin.consent import Consent
from izin.streams.state.rocks import RocksFolder
from izin.streams.state.state import MemoryState

DICT, MEMORY, ROCKSDB = "dict of consents", "packed in memory", "RocksDB"
KINDS = (DICT, MEMORY, ROCKSDB)
HOME = "bench/consents"

_BATCH = 1000
_TIMED_SHARE = 10
"""Speeds are timed over a tenth of the keys whose size is measured."""
_PAGES = Path("/proc/self/statm")

Batch = dict[bytes, "Consent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSize:
    """The size of one kind of state in bytes: resident memory and disk."""

    kind: str
    keys: int
    resident: int
    reported: int
    """What the state says of itself; 0 where it says nothing."""
    on_disk: int

    @property
    def mb_per_million(self) -> float:
        """Resident memory in MB of a million keys."""
        return self.resident / self.keys


def state(
    keys: Annotated[int, typer.Option(min=1000, help="Keys in the state.")] = 1_000_000,
    trials: Annotated[int, typer.Option(min=3, help="Trials of each kind.")] = 3,
) -> RunReport:
    """Measure the memory of a million keys of the order stage's state, and the time for one."""
    timed = keys // _TIMED_SHARE
    with progress().status("measuring sizes") as status:
        sizes = measure_sizes(keys=keys)
        status.update("timing")
        timings = measure_speeds(keys=timed, trials=trials)
    title = f"The state, size of {keys:,} keys, speed over {timed:,}, {trials} trials"
    return RunReport(
        tables=[_table(sizes, timings, title)],
        data={
            "keys": keys,
            "trials": trials,
            "unit": "bytes; µs of CPU time a key",
            "sizes": [asdict(one) for one in sizes],
            **{name: [asdict(one) for one in found] for name, found in timings.items()},
        },
        figures=figures(sizes, timings),
    )


def figures(
    sizes: Sequence[StateSize], timings: Mapping[str, Sequence[CpuTiming]]
) -> Mapping[str, float]:
    """Return size and speed of the state that is packed in memory."""
    (size,) = (one for one in sizes if one.kind == MEMORY)
    (get,) = (one for one in timings["get"] if one.name == MEMORY)
    return {"state-memory": size.mb_per_million, "state-get": get.median}


def measure_sizes(*, keys: int) -> Sequence[StateSize]:
    """Return the size of ``keys`` keys in each kind, each in a fresh process."""
    found = []
    for kind in KINDS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            found.append(fresh.submit(measure_size, kind, keys).result())
    return found


def measure_size(kind: str, keys: int) -> StateSize:
    """Fill a state of ``kind`` in this process and return its size."""
    with TemporaryDirectory(prefix="izin-bench-") as folder:
        before = _resident()
        apply, _, size = _opened(kind, Path(folder))
        for batch in _batches(keys):
            apply(batch)
        gc.collect()
        resident = _resident() - before
        reported, on_disk = size(), sum(one.stat().st_size for one in Path(folder).rglob("*"))
    return StateSize(kind=kind, keys=keys, resident=resident, reported=reported, on_disk=on_disk)


def measure_speeds(*, keys: int, trials: int) -> Mapping[str, Sequence[CpuTiming]]:
    """Time the kinds over ``keys`` keys: applied in batches, and read in random order."""
    with TemporaryDirectory(prefix="izin-bench-") as folder:
        batches = list(_batches(keys))
        wanted = [key for batch in batches for key in batch]
        Random(1).shuffle(wanted)
        states = {kind: _opened(kind, Path(folder) / kind) for kind in KINDS}

        def get(kind: str) -> None:
            one = states[kind][1]
            for key in wanted:
                one(key)

        def apply(kind: str) -> None:
            one = states[kind][0]
            for batch in batches:
                one(batch)

        return {
            act.__name__: compare(
                {kind: partial(act, kind) for kind in KINDS},
                steps=keys,
                trials=trials,
                clock=thread_time,
            )
            for act in (apply, get)
        }


def _opened(
    kind: str, folder: Path
) -> tuple[Callable[[Batch], None], Callable[[bytes], Consent | None], Callable[[], int]]:
    """Return how a state of ``kind`` applies a batch, gets a key, and reports its size."""
    if kind == DICT:
        whole: Batch = {}
        return whole.update, whole.get, lambda: 0
    state = MemoryState() if kind == MEMORY else RocksFolder(folder).state(0)
    state.open(HOME)

    def apply(batch: Batch) -> None:
        pack = state.packing.pack
        state.apply({key: pack(consent) for key, consent in batch.items()}, 1)

    def get(key: bytes) -> Consent | None:
        packed = state.packed(key)
        return None if packed is None else state.packing.unpack(key, packed)

    return apply, get, lambda: state.size


def _batches(keys: int) -> Iterator[Batch]:
    rows = sample_consents(keys, rng=Random(2026))
    while batch := {one.key.encode(): one for one in islice(rows, _BATCH)}:
        yield batch


def _resident() -> int:
    return int(_PAGES.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _table(
    sizes: Sequence[StateSize], timings: Mapping[str, Sequence[CpuTiming]], title: str
) -> Table:
    table = Table(title=title)
    table.add_column("state")
    headings = ("MB/million", "MB on disk", *(f"{name} µs/key, min–max" for name in timings))
    for heading in headings:
        table.add_column(heading, justify="right")
    for row, size in enumerate(sizes):
        table.add_row(
            size.kind,
            f"{size.mb_per_million:.0f}",
            f"{size.on_disk / size.keys:.0f}",
            *(
                f"{found[row].median:.1f}, {found[row].least:.1f}–{found[row].most:.1f}"
                for found in timings.values()
            ),
        )
    return table
