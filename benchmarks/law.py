"""Measure the CPU time to admit and decide a canonical event, compared with a dict update.

The dict is the simplest program, in which the last event of a key wins, and shows how fast the
machine is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from random import Random
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.cpu_timing import CpuTiming, compare
from benchmarks.events import BEGAN, canonical_events
from benchmarks.results import RunReport, progress
from izin.consent import AdmittedEvent, Consent, ConsentEvent, admit, decide

ADMIT_AND_DECIDE = "admit and decide"
DICT_UPDATE = "dict update"


def law(
    events: Annotated[int, typer.Option(min=100, help="Events of the dataset.")] = 200_000,
    trials: Annotated[int, typer.Option(min=3, help="Trials of each contender.")] = 5,
) -> RunReport:
    """Measure the CPU time of the law for an event, and its ratio to a dict update."""
    with progress().status("admitting and deciding"):
        found = timings(events=events, trials=trials)
    (unit,) = (one.median for one in found if one.name == DICT_UPDATE)
    (whole,) = (one.median for one in found if one.name == ADMIT_AND_DECIDE)
    table = Table(title=f"The law, {events:,} canonical events, {trials} trials")
    table.add_column("contender")
    for heading in ("µs/event", "min–max", f"× {DICT_UPDATE}"):
        table.add_column(heading, justify="right")
    for one in found:
        spread = f"{one.least:.2f}–{one.most:.2f}"
        table.add_row(one.name, f"{one.median:.2f}", spread, f"{one.median / unit:.1f}")
    return RunReport(
        tables=[table],
        data={
            "events": events,
            "trials": trials,
            "unit": "µs of CPU time an event",
            "contenders": [asdict(one) | {"ratio": one.median / unit} for one in found],
        },
        figures={"law-cpu": whole},
    )


def timings(*, events: int = 200_000, trials: int = 5, seed: int = 2026) -> Sequence[CpuTiming]:
    """Time the law and a dict over ``events`` events, four of them a recipient."""
    dataset = canonical_events(events, keys=max(1, events // 4), rng=Random(seed))
    # Keys come with their records, as Kafka brings them.
    keys = [event.recipient.encode() for event in dataset]
    appended_at = BEGAN + timedelta(seconds=events + 1)

    def admit_and_decide() -> Mapping[bytes, Consent]:
        state: dict[bytes, Consent] = {}
        for key, event in zip(keys, dataset, strict=True):
            admitted = admit(event, appended_at=appended_at)
            if isinstance(admitted, AdmittedEvent):
                current = state.get(key)
                decision = decide(current, admitted)
                if decision.consent is not current:
                    state[key] = decision.consent
        return state

    def admit_only() -> None:
        for event in dataset:
            admit(event, appended_at=appended_at)

    def dict_update() -> Mapping[bytes, ConsentEvent]:
        state: dict[bytes, ConsentEvent] = {}
        for key, event in zip(keys, dataset, strict=True):
            state[key] = event  # noqa: PERF403  # an update an event, as a stream makes it
        return state

    return compare(
        {ADMIT_AND_DECIDE: admit_and_decide, "admit": admit_only, DICT_UPDATE: dict_update},
        steps=events,
        trials=trials,
    )
