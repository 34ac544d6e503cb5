"""Plots as inline SVG: where each mark is, and the table and CSV of the same figures.

A template draws them with classes of the style sheet alone. What a plot shows it says in its title,
its text and its table too: nothing is shown by a picture or by colour alone.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import ceil, floor, log10
from typing import Any, NamedTuple

from izin.consent import TURKEY
from izin.producers.files.table_formats import write_csv
from izin.views import i18n
from izin.views.i18n import Language

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 548, 12, 208
"""The edges of what is drawn; beside and below it are the texts of the axes."""
TONES = ("first", "second", "third", "fourth", "fifth")
_STEPS = 4
_MOST_LABELS = 7
_SHARE, _WIDEST = 0.75, 60
"""The share of its room that a bar takes, and how wide it is at most."""
CSV = "text/csv; charset=utf-8"
Cell = str | int | date


class Tick(NamedTuple):
    """A text at an axis."""

    at: float
    text: str
    anchor: str = "middle"


class Bar(NamedTuple):
    """A part of a bar."""

    x: float
    y: float
    width: float
    height: float
    tone: str


class Line(NamedTuple):
    """A line, by the points at which it turns."""

    points: str
    tone: str


class PlotSeries(NamedTuple):
    """The values of one series, and what it is called."""

    name: str
    values: Sequence[int]


class Caption(NamedTuple):
    """What a plot is called, and what is to be seen in it."""

    name: str
    """Of its file."""
    title: str
    text: str
    labels: str
    """What the axis below it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot with its table."""

    caption: Caption
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    legend: tuple[tuple[str, str], ...]
    """The tone of each series, and its name."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()

    def shown(self, language: Language) -> list[list[str]]:
        """Return the rows of the table for people."""
        return [[_shown(language, cell) for cell in row] for row in self.rows]

    @property
    def numbers(self) -> range:
        """The columns of the table that are numbers."""
        return range(1, len(self.headings))

    @property
    def csv(self) -> bytes:
        """The table as a file."""
        return csv_of(self.headings, ([*map(_written, row)] for row in self.rows))


def csv_of(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a file that Excel in Turkey opens."""
    stream = io.BytesIO()
    write_csv(stream, headings, rows)
    return stream.getvalue()


def line_plot(
    caption: Caption, instants: Sequence[datetime], series: Sequence[PlotSeries], language: Language
) -> Plot:
    """Return a plot with a line for each series over time, as ``instants`` have it."""
    span = (instants[-1] - instants[0]).total_seconds() if instants else 0.0

    def x_of(at: datetime) -> float:
        share = (at - instants[0]).total_seconds() / span if span else 0.0
        return round(LEFT + share * (RIGHT - LEFT), 1)

    y_of, y_ticks = _scale([one.values for one in series], language)
    lines = [
        Line(
            " ".join(
                f"{x_of(at)},{y_of(value)}" for at, value in zip(instants, one.values, strict=True)
            ),
            tone,
        )
        for tone, one in zip(TONES, series, strict=False)
    ]
    first, last = (instants[0], instants[-1]) if instants else (None, None)
    ticks = [
        Tick(x_of(at), i18n.when(language, at), anchor)
        for at, anchor in ((first, "start"), (last, "end"))
        if at is not None and (span or anchor == "start")
    ]
    return Plot(
        caption=caption,
        **_table(caption, instants, series),
        x_ticks=tuple(ticks),
        y_ticks=y_ticks,
        lines=tuple(lines) if span else (),
    )


def bar_plot(
    caption: Caption, labels: Sequence[str | date], series: Sequence[PlotSeries], language: Language
) -> Plot:
    """Return a plot with a bar for each label, its series one upon the other."""
    totals = [sum(values) for values in zip(*(one.values for one in series), strict=True)]
    y_of, y_ticks = _scale([totals], language)
    room = (RIGHT - LEFT) / max(len(labels), 1)
    width = min(round(room * _SHARE, 1), _WIDEST)
    bars = []
    for place in range(len(labels)):
        base = 0
        for tone, one in zip(TONES, series, strict=False):
            value = one.values[place]
            if value:
                top = y_of(base + value)
                x = LEFT + (place + 0.5) * room - width / 2
                height = round(y_of(base) - top, 1)
                bars.append(Bar(round(x, 1), top, width, height, tone))
            base += value
    every = ceil(len(labels) / _MOST_LABELS)
    return Plot(
        caption=caption,
        **_table(caption, labels, series),
        x_ticks=tuple(
            Tick(round(LEFT + (place + 0.5) * room, 1), _shown(language, label))
            for place, label in enumerate(labels)
            if place % every == 0
        ),
        y_ticks=y_ticks,
        bars=tuple(bars),
    )


def _table(
    caption: Caption, labels: Sequence[Cell], series: Sequence[PlotSeries]
) -> dict[str, Any]:
    names = [one.name for one in series]
    return {
        "headings": (caption.labels, *names),
        "rows": tuple(zip(labels, *(one.values for one in series), strict=True)),
        "legend": tuple(zip(TONES, names, strict=False)),
    }


def _scale(
    values: Sequence[Sequence[int]], language: Language
) -> tuple[Callable[[int], float], tuple[Tick, ...]]:
    """Return where a value is in a plot of ``values``, from 0, and the ticks beside it."""
    most = max((max(some, default=0) for some in values), default=0)
    step = _round_up(most / _STEPS)
    top = step * max(ceil(most / step), 1)

    def y_of(value: int) -> float:
        return round(BOTTOM - value / top * (BOTTOM - TOP), 1)

    ticks = range(0, top + 1, step)
    return y_of, tuple(Tick(y_of(one), i18n.short(language, one), "end") for one in ticks)


def _round_up(value: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, 50 and so on."""
    power = 10 ** max(floor(log10(value)), 0) if value > 0 else 1
    return next(one * power for one in (1, 2, 5, 10) if one * power >= value)


def _shown(language: Language, cell: Cell) -> str:
    match cell:
        case datetime():
            return i18n.when(language, cell)
        case date():
            return i18n.day(language, cell)
        case int():
            return i18n.number(language, cell)
        case str():
            return cell


def _written(cell: Cell) -> str:
    match cell:
        case datetime():
            return cell.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M")
        case date():
            return cell.strftime("%d.%m.%Y")
        case _:
            return str(cell)
