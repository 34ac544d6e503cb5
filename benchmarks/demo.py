"""The benchmark ``demo``: the whole of ``izin demo``, with new servers and nothing kept."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.order.timer import printed_by
from benchmarks.results import RunReport, progress

_WITHIN = 600


def demo() -> RunReport:
    """Run the demo as a user does after the installation; servers are downloaded before."""
    command = [sys.executable, "-P", "-m", "izin.cli"]
    printed_by([*command, "download"], within=_WITHIN)
    with TemporaryDirectory(prefix="izin-bench-") as folder, progress().status("izin demo"):
        began = perf_counter()
        said = printed_by(
            [*command, "demo", "--output", "json"], within=_WITHIN, folder=Path(folder)
        )
        seconds = perf_counter() - began
    return RunReport(
        tables=[f"izin demo, from the first command to the last line: {seconds:.1f} s"],
        data={"seconds": seconds, "demo": json.loads(said)},
        figures={"demo": seconds},
    )
