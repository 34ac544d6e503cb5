"""``python -m tools.mutants``: check the result of mutmut; the last step of ``make mutants``.

Prints the change of each survivor; docs/mutants.md has the reasons for those that may survive. It
ends with the line ``law-mutants``, ``ok`` or ``short``. Exit code 1 where it is short.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.bars import BARS

STATS = Path("mutants/mutmut-cicd-stats.json")


def killed_share(stats: Mapping[str, int]) -> float:
    """Return the share of the mutants that a test detected, including those that never ended."""
    return (stats["killed"] + stats["timeout"]) / (stats["total"] - stats["skipped"])


def check(stats: Mapping[str, int]) -> int:
    """Print the share of killed mutants and return the exit code."""
    bar, share = BARS["law-mutants"], killed_share(stats) * 100
    sys.stdout.write(f"{stats['total']} mutants\n{bar.verdict(share)}\n")
    return 0 if bar.is_met(share) else 1


def main() -> int:
    """Print the survivors and the verdict."""
    mutmut = str(Path(sys.executable).parent / "mutmut")
    results = subprocess.run([mutmut, "results"], check=True, capture_output=True, text=True)
    for line in results.stdout.splitlines():
        name, _, fate = line.strip().partition(": ")
        if fate in {"survived", "no tests", "suspicious"}:
            subprocess.run([mutmut, "show", name], check=True)
    subprocess.run([mutmut, "export-cicd-stats"], check=True, stdout=subprocess.DEVNULL)
    return check(json.loads(STATS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
