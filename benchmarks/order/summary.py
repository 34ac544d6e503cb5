"""Summarize the trials of the order comparison: medians, ratios, a table and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.order.timer import TrialResult
from benchmarks.worker.probe import LatencySummary

_SPREAD = len("100,000–200,000")
_NAME = len("pass-through")
"""The longest word of a contender's name."""
_READABLE = "readable after ms: p50, p99"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over all trials."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Return the spread of ``figures``."""
        return cls(median=statistics.median(figures), least=min(figures), most=max(figures))

    def as_json(self) -> dict[str, float]:
        """Return the three numbers, rounded to their precision."""
        return {name: round(getattr(self, name), 2) for name in ("median", "least", "most")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContenderSummary:
    """One contender after its trials."""

    name: str
    setup: str
    events: int
    trials: int
    speed: Spread
    """Events a second."""
    cpu: Spread
    """µs an event, of the contender's processes."""
    peak_mb: float
    readable: LatencySummary | None
    """From the publisher's call until a row can be read; None: that was not measured."""


def summarize(
    name: str,
    setup: str,
    events: int,
    trials: Sequence[TrialResult],
    *,
    readable: LatencySummary | None = None,
) -> ContenderSummary:
    """Return the summary of ``trials`` over ``events``."""
    return ContenderSummary(
        name=name,
        setup=setup,
        events=events,
        trials=len(trials),
        speed=Spread.of([one.events_per_second for one in trials]),
        cpu=Spread.of([one.cpu_us for one in trials]),
        peak_mb=max(one.peak_mb for one in trials),
        readable=readable,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One contender's medians to another's: speed above 1 is faster, CPU below 1 is cheaper."""

    speed: float
    cpu: float


def ratio(one: ContenderSummary, other: ContenderSummary) -> Ratio:
    """Return the ratio of ``one`` to ``other``."""
    return Ratio(speed=one.speed.median / other.speed.median, cpu=one.cpu.median / other.cpu.median)


def as_json(found: Sequence[ContenderSummary], against: Sequence[str]) -> list[dict[str, Any]]:
    """Return the summaries for JSON, each with its ratios to those named in ``against``."""
    others = [one for one in found if one.name in against]
    return [
        {
            "name": one.name,
            "setup": one.setup,
            "events": one.events,
            "trials": one.trials,
            "events_per_second": one.speed.as_json(),
            "cpu_us_per_event": one.cpu.as_json(),
            "peak_rss_mb": round(one.peak_mb),
            "readable_ms": one.readable
            and {"p50": round(one.readable.p50, 1), "p99": round(one.readable.p99, 1)},
            "ratios": {
                other.name: {
                    "speed": round(ratio(one, other).speed, 2),
                    "cpu": round(ratio(one, other).cpu, 2),
                }
                for other in others
            },
        }
        for one in found
    ]


def render(found: Sequence[ContenderSummary], against: Sequence[str], *, title: str) -> Table:
    """Return the summaries as a table, each with its ratios to those named in ``against``."""
    others = [one for one in found if one.name in against]
    table = Table(title=title)
    table.add_column("contender", min_width=_NAME)
    columns = ("events", "events/s", "min–max", "CPU µs/event", "min–max", "peak MB", _READABLE)
    for heading in (*columns, *(f"× {other.name}: speed, CPU" for other in others)):
        # Names wrap; a truncated figure would be a different figure.
        is_spread = heading == "min–max"
        table.add_column(heading, justify="right", no_wrap=is_spread, min_width=_SPREAD * is_spread)
    for one in found:
        compared = [ratio(one, other) for other in others]
        table.add_row(
            one.name,
            _thousands(one.events),
            f"{one.speed.median:,.0f}",
            f"{one.speed.least:,.0f}–{one.speed.most:,.0f}",
            f"{one.cpu.median:.1f}",
            f"{one.cpu.least:.1f}–{one.cpu.most:.1f}",
            f"{one.peak_mb:,.0f}",
            "" if one.readable is None else f"{one.readable.p50:,.0f}, {one.readable.p99:,.0f}",
            *(f"{to.speed:.2f}, {to.cpu:.2f}" for to in compared),
        )
    return table


def _thousands(events: int) -> str:
    return f"{events // 1000} k" if events >= 1000 else str(events)  # noqa: PLR2004 - a thousand
