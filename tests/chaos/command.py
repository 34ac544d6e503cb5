"""What the command of each stage does before and after its campaign."""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from benchmarks.bars import bars_of
from benchmarks.results import RunReport, progress, publish
from benchmarks.worker.probe import LatencySummary
from izin.runtime.logs import configure
from izin.runtime.settings import LogSettings

T = TypeVar("T")
Show = Callable[[str], None]
"""Shows how far a campaign is."""
Seed = Annotated[int, typer.Option(help="The same choices for the same seed.")]

FLOOR = 50.0
"""Milliseconds that the slowest hundredth may take in any case."""
_SHOWN = 20
_PRINTED_EVERY = 10.0
"""Seconds between two lines of progress, where that is no terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The waits of somebody lawful, without and beside what is hostile."""

    without: LatencySummary
    beside: LatencySummary

    @property
    def share(self) -> float:
        """The 99th percentile in per cent of what it may be: twice that without, or ``FLOOR``."""
        return 100 * self.beside.p99 / max(2 * self.without.p99, FLOOR)


def empty(folder: Path) -> None:
    """Make ``folder`` anew: what the last campaign left there goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


@contextmanager
def showing(text: str) -> Iterator[Show]:
    """Provide what shows how far a campaign is: a line that changes, or one every ten seconds where
    that is no terminal. It begins with ``text``.
    """
    console, printed_at = progress(), -_PRINTED_EVERY

    with console.status(text) as status:

        def show(text: str) -> None:
            nonlocal printed_at
            status.update(text)
            if not console.is_terminal and time.monotonic() - printed_at >= _PRINTED_EVERY:
                printed_at = time.monotonic()
                console.print(text)

        yield show


def start(stage: str, main: Callable[..., None]) -> None:
    """Run ``main``, the command of a stage."""
    app = typer.Typer(add_completion=False)
    app.command()(main)
    app(prog_name=f"python -m tests.chaos.{stage}")


def run_stage(
    stage: str,
    folder: Path,
    campaign: Callable[[Show], T],
    report: Callable[[T, float], RunReport],
    *,
    in_lines: bool = False,
) -> typer.Exit:
    """Run the ``campaign`` of a stage in an empty ``folder``, and conclude it.

    It gets what shows progress, ``in_lines`` that all stay; ``report`` gets its verdict, and how
    many seconds it took.
    """
    # Injected failures are in the result; only events that alert a person are logged.
    configure(LogSettings(level="critical"))
    empty(folder)
    began = time.monotonic()
    with nullcontext(progress().print) if in_lines else showing("starting") as show:
        verdict = campaign(show)
    return conclude(stage, folder, report(verdict, time.monotonic() - began))


def explained_report(
    stage: str,
    verdict: Any,  # noqa: ANN401  # a dataclass
    summary: str,
    *,
    seconds: float,
    figures: Mapping[str, float | None],
    **data: object,
) -> RunReport:
    """Return the report of a campaign of ``seconds`` on virtual time, with what its verdict has as
    ``unexplained`` as a figure, beside ``figures``, and ``data`` beside the verdict's own.
    """
    return RunReport(
        tables=[summary, *listed(verdict.unexplained)],
        data={"seconds": round(seconds), **asdict(verdict), **data},
        figures={**figures, f"{stage}-unexplained": len(verdict.unexplained)},
    )


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
