"""Output of every command: tables for people, JSON for machines, and the progress of what is long.

Progress is on standard error: how much is done, how fast, and how long it takes. On a terminal it
is a bar for each step, elsewhere a line every ten seconds.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from functools import partial
from operator import itemgetter
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from izin.consent import TURKEY, visible
from izin.runtime.settings import KafkaSettings

CRITICAL_ONLY = 2
"""What librdkafka may log to a person's terminal."""
_PROSE = 20
"""Characters a column of prose needs at least; lines of one word each are unreadable."""
_FRAME = 3
"""Characters of each column that lines and blanks take."""
_EVERY = 10.0


class ShowingConsole(Console):
    """A console to which no text writes a control."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of what is printed, with controls in their texts written out."""
        for one in super().render(renderable, options):
            yield one if one.control else one._replace(text=visible(one.text))


out = ShowingConsole()
err = ShowingConsole(stderr=True)


class OutputFormat(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[
    OutputFormat, typer.Option("--output", help="Table for people, JSON for programs.")
]


def print_json(value: Any) -> None:  # noqa: ANN401  # any JSON
    """Print ``value`` as JSON on standard output."""
    sys.stdout.write(json_text(value))


def json_text(value: Any) -> str:  # noqa: ANN401  # any JSON
    """Return ``value`` as JSON, indented, with a newline at its end."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2, default=_jsonable) + "\n")


def turkish(at: datetime | str | None) -> str:
    """Return the instant ``at`` (or its ISO text) in Turkish time, ``dd.mm.yyyy hh:mm:ss``."""
    if not at:
        return ""
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    return instant.astimezone(TURKEY).strftime("%d.%m.%Y %H:%M:%S")


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def kafka_settings() -> KafkaSettings:
    """Return the Kafka settings of a command, whose client logs critical events only: the command
    itself reports what goes wrong.
    """
    return KafkaSettings(client_log_level=CRITICAL_ONLY)


def say(*messages: str) -> None:
    """Print each message on a line of standard error, beside the result."""
    for one in messages:
        err.print(visible(one), style="dim", markup=False, highlight=False, soft_wrap=True)


def print_rows(
    output: OutputFormat,
    columns: Mapping[str, str] | Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    below: bool = False,
    as_json: object = None,
    notes: Iterable[str] = (),
) -> None:
    """Print ``rows`` as a table, or as a JSON list of objects by column.

    ``columns`` are the names in JSON, in a mapping with their titles in the table. With ``below``
    the last column, what to do, is printed in lines below the table. ``as_json`` is printed as JSON
    in place of the rows, and ``notes`` are said beside a table alone.
    """
    match output:
        case OutputFormat.JSON:
            print_json(named(columns, rows) if as_json is None else as_json)
        case OutputFormat.TABLE:
            titles = columns.values() if isinstance(columns, Mapping) else columns
            texts = [[_as_text(cell) for cell in row] for row in rows]
            print_table(out, tuple(titles), texts, below=below)
            say(*notes)


def named(columns: Iterable[str], rows: Iterable[Sequence[object]]) -> list[dict[str, object]]:
    """Return rows as JSON has them: objects by column."""
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in rows]


def print_found(
    output: OutputFormat,
    columns: Mapping[str, str] | Sequence[str],
    found: Iterable[Any],
    *,
    below: bool = False,
    **made: Callable[[Any], object],
) -> None:
    """Print a row for each of ``found``, as :func:`print_rows` does; ``made`` is of ``cells``."""
    print_rows(output, columns, cells(columns, found, **made), below=below)


def cells(
    columns: Iterable[str], found: Iterable[Any], **made: Callable[[Any], object]
) -> list[list[object]]:
    """Return a row for each of ``found``, for ``print_rows``: under a column what ``made`` makes of
    it for that, else its attribute of the column's name.
    """
    return [
        [made[name](one) if name in made else getattr(one, name) for name in columns]
        for one in found
    ]


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print titles with their values, a line each, for people; empty ones are left out."""
    print_block(out, [(title, _as_text(value)) for title, value in fields])


def _as_text(cell: object) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return turkish(cell)
        case _:
            return str(cell)


def warn(*messages: str) -> None:
    """Print each message on a line of standard output, in red where that is a terminal."""
    for one in messages:
        out.print(Text(visible(one), "bold red"), soft_wrap=True)


def print_table(
    out: Console, titles: Sequence[str], rows: Sequence[Sequence[str]], *, below: bool = False
) -> None:
    """Print ``rows`` under ``titles``; ``below``: what the last column has is below the table."""
    if not rows:
        _print_whole(out, "none")
        return
    rows = [list(map(visible, row)) for row in rows]
    shown = len(titles) - 1 if below else len(titles)
    columns = [[title, *(row[at] for row in rows)] for at, title in enumerate(titles[:shown])]
    widths = widths_of(columns, out.width)
    if widths is None:
        for number, row in enumerate(rows):
            if number:
                out.print()
            print_block(out, zip(titles[:shown], row, strict=False))
            if below and row[-1]:
                _print_whole(out, row[-1])
        return
    table = Table()
    for title, width in zip(titles[:shown], widths, strict=True):
        table.add_column(title, width=width, overflow="fold")
    for row in rows:
        # As text: input is no markup.
        table.add_row(*map(Text, row[:shown]))
    out.print(table)
    if below:
        for row in filter(itemgetter(-1), rows):
            _print_whole(out, f"{' '.join(row[:2])}: {row[-1]}")


def widths_of(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return the width of each column in ``room`` characters; None where they do not fit."""
    most = [max(map(_longest_line, cells)) for cells in columns]
    least = [
        max(*map(_longest_word, cells), min(wide, _PROSE), 1)
        for cells, wide in zip(columns, most, strict=True)
    ]
    spare = room - sum(least) - _FRAME * len(columns) - 1
    if spare < 0:
        return None
    widths = list(least)
    # The one that needs least first, so that what it leaves goes to the others.
    waiting = sorted(range(len(columns)), key=lambda at: most[at] - least[at])
    for before, at in enumerate(waiting):
        given = min(most[at] - least[at], spare // (len(waiting) - before))
        widths[at] += max(given, 0)
        spare -= max(given, 0)
    return widths


def print_block(out: Console, fields: Iterable[tuple[str, str]]) -> None:
    """Print a line for each field that is not empty: its title, and its text."""
    block = Table.grid(padding=(0, 2))
    block.add_column(no_wrap=True)
    block.add_column(overflow="fold")
    for title, cell in fields:
        if cell:
            block.add_row(Text(visible(title), "dim"), Text(visible(cell)))
    out.print(block)


def _print_whole(out: Console, line: str) -> None:
    out.print(Text(line), soft_wrap=True)


def _longest_line(cell: str) -> int:
    return max(map(cell_len, cell.splitlines()), default=0)


def _longest_word(cell: str) -> int:
    return max(map(cell_len, cell.split()), default=0)


class ShownStep:
    """How much of a step is done; shown by :func:`showing` or :func:`showing_steps`."""

    def __init__(self, bars: Progress | None, what: str) -> None:
        self._what = what
        self._bars = bars
        self._task = bars.add_task(what, total=None, rate="") if bars is not None else None
        self._began = time.monotonic()
        self._next = self._began + _EVERY
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that so many of ``total`` are done."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        rate = (done - self._first) / max(now - self._began, 0.001)
        if self._bars is not None and self._task is not None:
            text = f"{rate:,.0f}/s"
            self._bars.update(self._task, completed=done, total=total, rate=text)
        elif now >= self._next:
            self._next = now + _EVERY
            left = f"{(total - done) / rate:,.0f} s left" if rate else "not moving"
            say(f"{self._what}: {done:,} of {total:,}, {rate:,.0f}/s, {left}")


@contextmanager
def showing_steps() -> Iterator[Callable[[str], ShownStep]]:
    """Yield what begins a step of the block, by its name, and returns what shows its progress: call
    that with how many are done, and of how many.
    """
    if not err.is_terminal:
        yield partial(ShownStep, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        yield partial(ShownStep, bars)


@contextmanager
def showing(what: str) -> Iterator[ShownStep]:
    """Yield what shows the progress of the block, which is one step."""
    with showing_steps() as begin:
        yield begin(what)
