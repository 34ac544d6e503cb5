"""The benchmark ``demo``: the whole of ``izin demo``, with new servers and nothing kept."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.order.timer import TrialError
from benchmarks.results import RunReport, progress

_WITHIN = 600


def demo() -> RunReport:
    """Run the demo as a user does after the installation; servers are downloaded before."""
    command = [sys.executable, "-P", "-m", "izin.cli"]
    _run([*command, "download"], Path.cwd())
    with TemporaryDirectory(prefix="izin-bench-") as folder, progress().status("izin demo"):
        began = perf_counter()
        said = _run([*command, "demo", "--output", "json"], Path(folder))
        seconds = perf_counter() - began
    return RunReport(
        tables=[f"izin demo, from the first command to the last line: {seconds:.1f} s"],
        data={"seconds": seconds, "demo": json.loads(said)},
        figures={"demo": seconds},
    )


def _run(command: list[str], folder: Path) -> str:
    """Return what ``command`` prints in ``folder``; raises TrialError where it fails."""
    done = subprocess.run(  # noqa: S603  # our own command
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=_WITHIN
    )
    if done.returncode:
        raise TrialError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
