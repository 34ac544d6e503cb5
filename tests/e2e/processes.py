"""Run ``izin`` on servers of its own, and find processes that it leaves running."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GIVEN_SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "SCHEMA_REGISTRY_URL")


def izin(*words: str, module: str = "izin.cli", **environment: str) -> subprocess.Popen[str]:
    """Start ``izin`` with these arguments; ``environment`` is added to ours."""
    ours = {name: value for name, value in os.environ.items() if name not in GIVEN_SERVERS}
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(folder: Path) -> Iterator[str]:
    """Yield each process that still runs and whose command or environment names ``folder``."""
    mark = str(folder).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            known = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if mark in known and process.name != str(os.getpid()):
            yield process.name
