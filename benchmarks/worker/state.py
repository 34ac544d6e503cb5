"""What the order stage's state costs: memory by the million keys, and time by the key.

The bar is 200 MB a million keys in memory, and about 2 µs for a key that is held. A dict of whole
consents is what the simplest worker would keep.
"""

from __future__ import annotations

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import thread_time
from typing import TYPE_CHECKING

from benchmarks.cpu_timing import race
from benchmarks.worker.sample_consents import consents
from izin.streams.rocks import RocksFolder
from izin.streams.state import MemoryState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.cpu_timing import Lap
    from izin.consent.model import Consent

DICT, MEMORY, ROCKSDB = "dict of consents", "packed in memory", "RocksDB"
KINDS = (DICT, MEMORY, ROCKSDB)
HOME = "bench/consents"

_BATCH = 1000
_PAGES = Path("/proc/self/statm")

Batch = dict[bytes, "Consent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What one kind of state takes for so many keys, in bytes: resident memory and disk."""

    kind: str
    keys: int
    resident: int
    told: int
    """What the state says of itself; 0 where it says nothing."""
    on_disk: int


def weights(*, keys: int) -> Sequence[Weight]:
    """Return what ``keys`` keys weigh in each kind, each in a fresh process."""
    found = []
    for kind in KINDS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            found.append(fresh.submit(weigh, kind, keys).result())
    return found


def weigh(kind: str, keys: int) -> Weight:
    """Fill a state of ``kind`` in this process and return what it took."""
    with TemporaryDirectory(prefix="izin-bench-") as folder:
        before = _resident()
        hold, _, size = _kept(kind, Path(folder))
        for batch in _batches(keys):
            hold(batch)
        gc.collect()
        resident = _resident() - before
        told, on_disk = size(), sum(one.stat().st_size for one in Path(folder).rglob("*"))
    return Weight(kind=kind, keys=keys, resident=resident, told=told, on_disk=on_disk)


def speeds(*, keys: int, laps: int) -> Mapping[str, Sequence[Lap]]:
    """Race the kinds over ``keys`` keys: each is held again in batches, and got, in any order."""
    with TemporaryDirectory(prefix="izin-bench-") as folder:
        batches = list(_batches(keys))
        wanted = [key for batch in batches for key in batch]
        Random(1).shuffle(wanted)
        kept = {kind: _kept(kind, Path(folder) / kind) for kind in KINDS}

        def get(kind: str) -> None:
            one = kept[kind][1]
            for key in wanted:
                one(key)

        def apply(kind: str) -> None:
            one = kept[kind][0]
            for batch in batches:
                one(batch)

        return {
            act.__name__: race(
                {kind: partial(act, kind) for kind in KINDS},
                steps=keys,
                laps=laps,
                clock=thread_time,
            )
            for act in (apply, get)
        }


def _kept(
    kind: str, folder: Path
) -> tuple[Callable[[Batch], None], Callable[[bytes], Consent | None], Callable[[], int]]:
    """Return how a state of ``kind`` holds a batch, gets a key, and tells its size."""
    if kind == DICT:
        whole: Batch = {}
        return whole.update, whole.get, lambda: 0
    state = MemoryState() if kind == MEMORY else RocksFolder(folder).state(0)
    state.open(HOME)

    def apply(batch: Batch) -> None:
        pack = state.packing.pack
        state.hold({key: pack(consent) for key, consent in batch.items()}, 1)

    return apply, state.get, lambda: state.size


def _batches(keys: int) -> Iterator[Batch]:
    rows = consents(keys, rng=Random(2026))
    while batch := {one.key.encode(): one for one in islice(rows, _BATCH)}:
        yield batch


def _resident() -> int:
    return int(_PAGES.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
