"""The benchmark ``verify-hostile``: what a verifier of hostile archives takes, each in a process.

The verifier is the command of the libraries, ``python -m izin.evidence``. Its most memory is what
the kernel says of it at its end.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.evidence.hostile import HOSTILE
from benchmarks.results import RunReport, progress

_WITHIN = 120
_MEASURED = """
import json, re, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from izin.evidence.__main__ import main
began = time.perf_counter()
code = main(sys.argv[1:])
seconds = time.perf_counter() - began
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(json.dumps({"code": code, "seconds": seconds, "megabytes": int(peak) / 1024}))
"""
_REFUSED = {1, 3, 6}
"""The exit codes of a verifier that does not take an archive for proven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileArchive:
    """What the verification of one archive took."""

    name: str
    bytes: int
    code: int
    """The exit code; -1: it ended otherwise, or not at all."""
    seconds: float
    megabytes: float
    said: str
    """The last line but of what was measured."""

    @property
    def is_refused(self) -> bool:
        """Whether it was refused, and in words."""
        return self.code in _REFUSED


def verify_hostile(
    only: Annotated[str, typer.Option(help="Only archives whose name has this in it.")] = "",
) -> RunReport:
    """Verify archives that are made to stop whoever verifies them."""
    found = []
    with TemporaryDirectory(prefix="izin-bench-") as folder, progress().status("") as status:
        anchors = Path(folder) / "anchors.jsonl"
        line = {"id": 1, "shard": 3, "place": 1, "link": "00" * 32, "anchored_at": "2026-03-02"}
        anchors.write_text(json.dumps(line) + "\n")
        for name in (one for one in HOSTILE if only in one):
            status.update(name)
            found.append(measured(name, Path(folder) / "evidence.zip", anchors))
    table = Table(title="Hostile archives of evidence")
    table.add_column("archive")
    for heading in ("bytes", "seconds", "MB", "exit code"):
        table.add_column(heading, justify="right")
    table.add_column("said")
    for one in found:
        numbers = f"{one.bytes:,}", f"{one.seconds:.2f}", f"{one.megabytes:.0f}", str(one.code)
        table.add_row(one.name, *numbers, one.said[:60])
    return RunReport(
        tables=[table],
        data={"archives": [asdict(one) for one in found]},
        figures={
            "verify-hostile-seconds": max(one.seconds for one in found),
            "verify-hostile-megabytes": max(one.megabytes for one in found),
        },
        failures=[f"{one.name}: {one.said}" for one in found if not one.is_refused],
    )


def measured(name: str, archive: Path, anchors: Path) -> HostileArchive:
    """Return what the verification of one archive takes, in a process of its own."""
    content = HOSTILE[name]()
    archive.write_bytes(content)
    size = len(content)
    del content
    argv = (sys.executable, "-c", _MEASURED, str(archive), "--anchors", str(anchors))
    began = perf_counter()
    try:
        done = subprocess.run(  # noqa: S603  # our own command
            argv, capture_output=True, text=True, timeout=_WITHIN, check=False
        )
        lines, errors = done.stdout.splitlines(), done.stderr.splitlines()
        took = json.loads(lines.pop())
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return HostileArchive(
            name=name,
            bytes=size,
            code=-1,
            seconds=perf_counter() - began,
            megabytes=float("inf"),
            said="it did not end in words",
        )
    said = [one for one in (*errors, *lines) if one] or [""]
    return HostileArchive(name=name, bytes=size, said=said[0], **took)
