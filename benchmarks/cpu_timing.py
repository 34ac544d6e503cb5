"""CPU time of functions over the same data, trial by trial in turn.

Interference affects every contender. Time is the process's own CPU time, so other processes are
not counted, though they still slow the caches. The garbage collector is off during a
trial and runs between trials.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTiming:
    """What one contender needed for one step, in µs of CPU time, over all trials."""

    name: str
    median: float
    least: float
    most: float


def compare(
    contenders: Mapping[str, Callable[[], object]],
    *,
    steps: int,
    trials: int,
    clock: Callable[[], float] = time.process_time,
) -> Sequence[CpuTiming]:
    """Return the timing of each contender, whose call makes ``steps`` steps, over ``trials``."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(trials):
        for name, contender in contenders.items():
            gc.collect()
            gc.disable()
            try:
                began = clock()
                contender()
                taken[name].append((clock() - began) / steps * 1e6)
            finally:
                gc.enable()
    return [
        CpuTiming(name=name, median=statistics.median(times), least=min(times), most=max(times))
        for name, times in taken.items()
    ]
