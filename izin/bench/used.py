"""What a process has used, as ``/proc`` counts it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float:
    """Return the CPU time, user and system, that the process has used with all its threads."""
    # The name, in brackets, may hold spaces and brackets of its own.
    fields: Sequence[str] = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int, proc: Path = Path("/proc")) -> float:
    """Return the most memory that the process has held so far."""
    found = re.search(
        r"^VmHWM:\s+(\d+) kB$", (proc / str(pid) / "status").read_text(), re.MULTILINE
    )
    return int(found[1]) / 1024 if found else 0.0
