"""CPU time and memory of a process, as the kernel counts them."""

import os
import re
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT

_CPU_CLOCK = 2
"""Of a process: the kernel keeps it under ``~pid << 3 | 2`` (``clock_getcpuclockid(3)``)."""

_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """What a command took and printed, with the processes that it started."""

    printed: str
    seconds: float
    peak_megabytes: float


def run_measured(argv: Sequence[str], *, fine: Collection[int] = (0,)) -> MeasuredRun:
    """Run a command of our own, from its start to its end.

    Raises:
        CalledProcessError: its exit code is none of ``fine``.
    """
    began, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own command
    while process.poll() is None:
        peak = max(peak, tree_megabytes(process.pid))
        time.sleep(_LOOK_EVERY)  # to look without a pause would use the CPU that is measured
    seconds = time.perf_counter() - began
    printed, _ = process.communicate()
    if process.returncode not in fine:
        raise subprocess.CalledProcessError(process.returncode, argv)
    return MeasuredRun(printed=printed, seconds=seconds, peak_megabytes=peak)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time, user and system, that the process has used with all its threads.

    Raises OSError if there is no such process.
    """
    return time.clock_gettime(~pid << 3 | _CPU_CLOCK)


def tree_megabytes(pid: int, proc: Path = Path("/proc")) -> float:
    """Return the resident memory of the process and of those that it started, in MiB; of one alone
    the most so far.
    """
    children = _children(pid, proc)
    if not children:
        return peak_megabytes(pid, proc)
    return _megabytes(pid, proc, "VmRSS") + sum(tree_megabytes(one, proc) for one in children)


def family(pid: int, proc: Path = Path("/proc")) -> list[int]:
    """Return the process and all that it started, and they in turn."""
    return [pid, *(one for child in _children(pid, proc) for one in family(child, proc))]


def processes_with(word: str) -> list[int]:
    """Return those of this process and all that it started whose command line has ``word``."""
    found = []
    for pid in family(os.getpid()):
        with suppress(OSError):  # it ended meanwhile
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def _children(pid: int, proc: Path) -> list[int]:
    threads = (proc / str(pid) / "task").glob("*/children")
    try:
        return [int(one) for thread in threads for one in thread.read_text().split()]
    except OSError:
        return []  # it ended meanwhile


def peak_megabytes(pid: int, proc: Path = Path("/proc")) -> float:
    """Return the most resident memory of the process so far, in MiB."""
    return _megabytes(pid, proc, "VmHWM")


def _megabytes(pid: int, proc: Path, name: str) -> float:
    text = (proc / str(pid) / "status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
