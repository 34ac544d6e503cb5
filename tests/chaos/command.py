"""What the command of each stage does before and after its campaign."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import typer

from benchmarks.bars import bars_of
from benchmarks.results import RunReport, publish

_SHOWN = 20


def empty(folder: Path) -> None:
    """Make ``folder`` anew: what the last campaign left there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def conclude(stage: str, folder: Path, report: RunReport) -> typer.Exit:
    """Publish the report of a stage, with its bars; return the exit that says how it ended."""
    bars = [bar.name for bar in bars_of(f"chaos-{stage}")]
    return typer.Exit(publish(report, bars=bars, results=folder / "result.json"))


def counted(counts: Mapping[str, int]) -> str:
    """Return how often each was counted, the most frequent first, as a line of a report."""
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{count} × {kind}" for kind, count in ranked)


def listed(wrong: Iterable[object]) -> list[str]:
    """Return the first of what is wrong, as lines of a report."""
    return [f"  {one}" for one in list(wrong)[:_SHOWN]]
