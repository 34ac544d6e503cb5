"""``python -m tests.chaos.property``: a million histories; ``make chaos STAGE=property``.

Of a hundred histories one is read by evidence, what-if and reconcile too, which must say what the
ledger says. It ends with the lines ``property-histories``, ``property-unexplained``,
``property-compared`` and ``property-disagreements``, each ``ok`` or ``short``. Exit codes: 0 no
history hides an opt-out and all readers agree, 1 else, 2 wrong usage.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from benchmarks.results import RunReport
from tests.chaos.command import counted, listed, run_stage, start
from tests.chaos.property.key_history import HiddenOptOutError, KeyHistory
from tests.chaos.property.recorded_history import DisagreementError, RecordedHistory

_PART = 5_000
_MOST_ACTS = 14
_SETTLED = 4
"""Of so many histories one is settled at its end by an honest İYS."""
_COMPARED = 100
"""Of so many histories one is read by evidence, what-if and reconcile too, after each act."""
_SHOWN = 5
"""So many of the hidden opt-outs of a part are differing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyVerdict:
    """What came of the histories."""

    histories: int
    acts: int
    settled: int
    due_again: int
    """In how many an opt-out was due again behind an opt-in that is void."""
    kinds: Mapping[str, int]
    """How often each act was done."""
    unexplained: tuple[str, ...]
    """The histories that hide an opt-out, as their acts."""
    violations: int
    """How many those are."""
    compared: int = 0
    """How many histories were read by evidence, what-if and reconcile too."""
    disagreements: int = 0
    """In how many of them these said anything else than the ledger."""


def run(
    *, histories: int, seed: int, processes: int | None = None, on_progress: Callable[[str], None]
) -> PropertyVerdict:
    """Return what comes of so many histories, the same for the same seed."""
    parts = range(0, histories, _PART)
    sizes = [min(_PART, histories - start) for start in parts]
    verdict = PropertyVerdict(
        histories=0, acts=0, settled=0, due_again=0, kinds={}, unexplained=(), violations=0
    )
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        waiting = [
            pool.submit(partial(part, seed=f"{seed}/{number}", histories=size))
            for number, size in enumerate(sizes)
        ]
        for done in as_completed(waiting):
            verdict = joined(verdict, done.result())
            on_progress(
                f"{verdict.histories:,} of {histories:,} histories, {verdict.violations} hide one"
            )
    return verdict


def part(*, seed: str, histories: int) -> PropertyVerdict:
    """Return what comes of some of the histories."""
    random = Random(seed)
    kinds: Counter[str] = Counter()
    found: list[str] = []
    differing: list[str] = []
    settled = due_again = compared = disagreements = 0
    for number in range(histories):
        is_compared = number % _COMPARED == 0
        history = RecordedHistory(random) if is_compared else KeyHistory(random)
        is_settled = number % _SETTLED == 0
        was_void = False
        try:
            for _ in range(random.randrange(3, _MOST_ACTS)):
                history.step()
                if isinstance(history, RecordedHistory):
                    history.compare()
                was_void |= history.row is not None and history.row.void_event_id is not None
            if is_settled:
                history.settle()
        except HiddenOptOutError as error:
            found.append(str(error))
        except DisagreementError as error:
            disagreements += 1
            differing.append(str(error))
        compared += is_compared
        settled += is_settled
        due_again += was_void
        kinds.update(history.acts)
    return PropertyVerdict(
        histories=histories,
        acts=kinds.total(),
        settled=settled,
        due_again=due_again,
        kinds=dict(kinds),
        unexplained=tuple([*found, *differing][:_SHOWN]),
        violations=len(found),
        compared=compared,
        disagreements=disagreements,
    )


def joined(one: PropertyVerdict, other: PropertyVerdict) -> PropertyVerdict:
    """Return what came of the histories of both."""
    return PropertyVerdict(
        histories=one.histories + other.histories,
        acts=one.acts + other.acts,
        settled=one.settled + other.settled,
        due_again=one.due_again + other.due_again,
        kinds=dict(Counter(one.kinds) + Counter(other.kinds)),
        unexplained=(*one.unexplained, *other.unexplained)[:_SHOWN],
        violations=one.violations + other.violations,
        compared=one.compared + other.compared,
        disagreements=one.disagreements + other.disagreements,
    )


def main(
    histories: Annotated[int, typer.Option(min=1, help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same histories for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="The result of the last run.")] = Path(
        ".izin/chaos-property"
    ),
) -> None:
    """Generate histories, and look for an opt-out that İYS lacks and of which nothing is due."""
    raise run_stage(
        "property",
        folder,
        lambda show: run(histories=histories, seed=seed, on_progress=show),
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: PropertyVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summary = (
        f"{verdict.histories:,} histories of {verdict.acts:,} acts in {seconds:.0f} s, "
        f"{verdict.settled:,} of them settled by an honest İYS; in {verdict.due_again:,} "
        "an opt-out was due again behind a void opt-in"
    )
    return RunReport(
        tables=[summary, counted(verdict.kinds), *listed(verdict.unexplained)],
        data={"seconds": round(seconds), "seed": seed, **asdict(verdict)},
        figures={
            "property-histories": verdict.histories,
            "property-unexplained": verdict.violations,
            "property-compared": verdict.compared,
            "property-disagreements": verdict.disagreements,
        },
    )


if __name__ == "__main__":
    start("property", main)
