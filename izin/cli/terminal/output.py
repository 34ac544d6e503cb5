"""Output of every command: tables for people, JSON for machines, and the progress of what is long.

Progress is on standard error: how much is done, how fast, and how long it takes. On a terminal it
is a bar for each step, elsewhere a line every ten seconds. Files with recipients in full can be
read by their owner alone, and are whole or absent.
"""

import csv
import hashlib
import io
import json
import os
import sys
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from izin.consent import OurError, SourceError, visible
from izin.runtime.settings import KafkaSettings
from izin.views.sentences import turkish

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
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


utc_now = partial(datetime.now, UTC)
"""Returns the current instant."""
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


def _jsonable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def kafka_settings() -> KafkaSettings:
    """Return the Kafka settings of a command, whose client logs critical events only: the command
    itself reports what goes wrong.
    """
    return KafkaSettings(client_log_level=CRITICAL_ONLY)


def say(*messages: str) -> None:
    """Print each message on a line of standard error, beside the result."""
    for message in messages:
        err.print(visible(message), style="dim", markup=False, highlight=False, soft_wrap=True)


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
            print_table(
                out, tuple(titles), [[_as_text(cell) for cell in row] for row in rows], below=below
            )
            say(*notes)


def named(columns: Collection[str], rows: Iterable[Sequence[object]]) -> list[dict[str, object]]:
    """Return rows as JSON has them: objects by column."""
    return [dict(zip(columns, row, strict=True)) for row in rows]


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
    for message in messages:
        out.print(Text(visible(message), "bold red"), soft_wrap=True)


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
    most = [
        max((cell_len(line) for cell in cells for line in cell.splitlines()), default=0)
        for cells in columns
    ]
    least = [
        max(*(cell_len(word) for cell in cells for word in cell.split()), min(wide, _PROSE), 1)
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
            self._bars.update(self._task, completed=done, total=total, rate=f"{rate:,.0f}/s")
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


class VisibleRows:
    """Writes rows whose controls are written out."""

    def __init__(self, file: TextIO, *, delimiter: str = ",") -> None:
        self._csv = csv.writer(file, delimiter=delimiter)

    def writerow(self, row: Sequence[object]) -> None:
        """Write one row."""
        self._csv.writerow([visible(one) if isinstance(one, str) else one for one in row])


@contextmanager
def private_csv(
    path: Path, header: Sequence[str], *, for_excel: bool = False
) -> Iterator[VisibleRows]:
    """Provide what writes rows under ``header``; the file replaces ``path`` at the end, and on an
    error nothing is left. ``for_excel`` is as Excel in Turkey opens it: with a BOM, and ``;``.

    Raises:
        SourceError: a file with another header is there.
        OurError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    encoding = "utf-8-sig" if for_excel else "utf-8"
    try:
        check_place(path, header, for_excel=for_excel)
        part.unlink(missing_ok=True)
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding=encoding, newline="") as file:
            rows = VisibleRows(file, delimiter=_delimiter(for_excel))
            rows.writerow(header)
            yield rows
        part.replace(path)
    except OSError as error:
        why = f"{path} cannot be written: {error.strerror}; choose another place"
        raise OurError(why) from error
    finally:
        part.unlink(missing_ok=True)


def check_place(path: Path, header: Sequence[str], *, for_excel: bool = False) -> None:
    """Check that :func:`private_csv` would replace at most an earlier file of its kind.

    Raises:
        SourceError: a file with another header is at ``path``.
        OSError: what is there cannot be read.
    """
    if path.exists() and not _begins_with(path, header, _delimiter(for_excel)):
        raise SourceError(f"{path} exists, and is no such list: name another file")


def _delimiter(for_excel: bool) -> str:
    return ";" if for_excel else ","


def _begins_with(path: Path, header: Sequence[str], delimiter: str) -> bool:
    """Whether the file at ``path`` is empty, or begins with ``header``."""
    if not path.is_file():
        return False
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerow(header)
    expected = text.getvalue().encode()
    with path.open("rb") as file:
        found = file.read(len(BOM_UTF8) + len(expected)).removeprefix(BOM_UTF8)
    return not found or found.startswith(expected)


def new_file(path: Path) -> BinaryIO:
    """Open a file that must not exist.

    Raises:
        SourceError: it exists, or cannot be written.
    """
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise SourceError(f"{path} cannot be written: {error.strerror}; name a new file") from error


def write_new(path: Path, content: bytes) -> Path:
    """Write such a file; return ``path``. Raises as :func:`new_file`."""
    with new_file(path) as target:
        target.write(content)
    return path


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
