"""What the laps of the order race amount to: medians, ratios, a table and JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.order.timer import Run

_SPREAD = len("100,000–200,000")
_NAME = len("pass-through")
"""The longest word of a runner's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over all laps."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Return the spread of ``figures``."""
        return cls(median=statistics.median(figures), least=min(figures), most=max(figures))

    def as_json(self) -> dict[str, float]:
        """Return the three numbers, rounded to what they can mean."""
        return {name: round(getattr(self, name), 2) for name in ("median", "least", "most")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One runner after its laps."""

    name: str
    how: str
    events: int
    laps: int
    speed: Spread
    """Events a second."""
    cpu: Spread
    """µs an event, of the runner's process."""
    peak_mb: float


def standing(name: str, how: str, events: int, runs: Sequence[Run]) -> Standing:
    """Return what ``runs`` over ``events`` amount to."""
    return Standing(
        name=name,
        how=how,
        events=events,
        laps=len(runs),
        speed=Spread.of([run.events_per_second for run in runs]),
        cpu=Spread.of([run.cpu_us for run in runs]),
        peak_mb=max(run.peak_mb for run in runs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One runner's medians to another's: speed above 1 is faster, CPU below 1 is cheaper."""

    speed: float
    cpu: float


def ratios(
    standings: Sequence[Standing], against: Sequence[str]
) -> Mapping[str, Mapping[str, Ratio]]:
    """Return by runner its ratios to each in ``against`` that ran."""
    others = [one for one in standings if one.name in against]
    return {
        one.name: {
            other.name: Ratio(
                speed=one.speed.median / other.speed.median, cpu=one.cpu.median / other.cpu.median
            )
            for other in others
        }
        for one in standings
    }


def as_json(standings: Sequence[Standing], against: Sequence[str]) -> list[dict[str, Any]]:
    """Return the standings as JSON can hold them."""
    found = ratios(standings, against)
    return [
        {
            "name": one.name,
            "how": one.how,
            "events": one.events,
            "laps": one.laps,
            "events_per_second": one.speed.as_json(),
            "cpu_us_per_event": one.cpu.as_json(),
            "peak_rss_mb": round(one.peak_mb),
            "ratios": {
                name: {"speed": round(ratio.speed, 2), "cpu": round(ratio.cpu, 2)}
                for name, ratio in found[one.name].items()
            },
        }
        for one in standings
    ]


def table(standings: Sequence[Standing], against: Sequence[str], *, title: str) -> Table:
    """Return the standings as people read them."""
    found = ratios(standings, against)
    against = [one.name for one in standings if one.name in against]
    drawn = Table(title=title)
    drawn.add_column("runner", min_width=_NAME)
    columns = ("events", "events/s", "min–max", "CPU µs/event", "min–max", "peak MB")
    for heading in (*columns, *(f"× {name}: speed, CPU" for name in against)):
        # What wraps is the names: a figure cut short says something else.
        is_spread = heading == "min–max"
        drawn.add_column(heading, justify="right", no_wrap=is_spread, min_width=_SPREAD * is_spread)
    for one in standings:
        drawn.add_row(
            one.name,
            _thousands(one.events),
            f"{one.speed.median:,.0f}",
            f"{one.speed.least:,.0f}–{one.speed.most:,.0f}",
            f"{one.cpu.median:.1f}",
            f"{one.cpu.least:.1f}–{one.cpu.most:.1f}",
            f"{one.peak_mb:,.0f}",
            *(f"{ratio.speed:.2f}, {ratio.cpu:.2f}" for ratio in found[one.name].values()),
        )
    return drawn


def _thousands(events: int) -> str:
    return f"{events // 1000} k" if events >= 1000 else str(events)  # noqa: PLR2004 - a thousand
