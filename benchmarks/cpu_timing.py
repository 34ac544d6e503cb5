"""Runners over the same course, lap by lap, so that what disturbs the machine disturbs them all.

Time is the process's own CPU time: what runs beside it is not counted, though it still slows the
caches. The garbage collector rests during a lap and runs between laps.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from izin.streams.plain import is_compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """What one runner needed for one step of the course, µs of CPU time, over all laps."""

    name: str
    median: float
    least: float
    most: float


def race(
    runners: Mapping[str, Callable[[], object]],
    *,
    steps: int,
    laps: int,
    clock: Callable[[], float] = time.process_time,
    after_lap: Callable[[], None] = lambda: None,
) -> Sequence[Lap]:
    """Let each of ``runners`` take the course of ``steps`` steps ``laps`` times, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(laps):
        for name, runner in runners.items():
            gc.collect()
            gc.disable()
            try:
                began = clock()
                runner()
                taken[name].append((clock() - began) / steps * 1e6)
            finally:
                gc.enable()
            after_lap()
    return [
        Lap(name=name, median=statistics.median(times), least=min(times), most=max(times))
        for name, times in taken.items()
    ]


def machine(processors: Path = Path("/proc/cpuinfo")) -> str:
    """Return what this machine is, in a line: processor, cores, Python, and whether the hot path
    is compiled.
    """
    told = processors.read_text(encoding="utf-8") if processors.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    return (
        f"{named[1] if named else platform.machine()}, {os.cpu_count()} cores, "
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{'compiled' if is_compiled() else 'interpreted'}"
    )
