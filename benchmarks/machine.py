"""The machine and the interpreter that figures were measured on."""

import os
import platform
import re
from pathlib import Path

from izin.schemas.fast import BUILD


def describe_machine(proc: Path = Path("/proc")) -> str:
    """Return one line with processor, cores, memory, Python, and whether the hot path is compiled.

    Values that ``/proc`` does not have are left out.
    """
    model = _find(proc / "cpuinfo", r"^model name\s*: (.+)$") or platform.machine()
    kilobytes = _find(proc / "meminfo", r"^MemTotal:\s+(\d+) kB$")
    memory = [f"{int(kilobytes) / 2**20:.0f} GiB"] if kilobytes else []
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([model, f"{os.cpu_count()} cores", *memory, python, BUILD])


def _find(path: Path, pattern: str) -> str | None:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else None
