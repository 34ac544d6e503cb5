"""Judge a run of mutmut: `make mutants` ends with this.

Prints what each survivor changed; the reasons why they may live stand in docs/mutants.md. Exit code
1 where fewer than nine in ten were killed.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LEAST = 0.9
STATS = Path("mutants/mutmut-cicd-stats.json")


def killed_share(stats: Mapping[str, int]) -> float:
    """Return the share of the mutants that a test noticed; one that never ends is noticed too."""
    return (stats["killed"] + stats["timeout"]) / (stats["total"] - stats["skipped"])


def main() -> int:
    """Print the survivors and the share."""
    mutmut = str(Path(sys.executable).parent / "mutmut")
    results = subprocess.run([mutmut, "results"], check=True, capture_output=True, text=True)
    for line in results.stdout.splitlines():
        name, _, fate = line.strip().partition(": ")
        if fate in {"survived", "no tests", "suspicious"}:
            subprocess.run([mutmut, "show", name], check=True)
    subprocess.run([mutmut, "export-cicd-stats"], check=True, stdout=subprocess.DEVNULL)
    stats = json.loads(STATS.read_text(encoding="utf-8"))
    share = killed_share(stats)
    sys.stdout.write(f"{stats['total']} mutants, {share:.1%} killed (at least {LEAST:.0%})\n")
    return 0 if share >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
