"""Tables that fit the screen and cut nothing: a code, a key or an id of which the end is missing is
no answer.

Every column has room for its longest word, and for some of its prose. Where the screen has not that
much, each row is a block of its own, a line a column. What is to be typed stands below, in whole
lines that the screen may wrap and a person can copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_PROSE = 20
"""What a column of prose needs, for lines of one word each are not read."""
_FRAME = 3
"""What lines and blanks take of each column."""


def print_table(
    out: Console, titles: Sequence[str], rows: Sequence[Sequence[str]], *, below: bool = False
) -> None:
    """Print ``rows`` under ``titles``; ``below``: the last column stands below the table."""
    if not rows:
        _print_whole(out, "none")
        return
    shown = len(titles) - 1 if below else len(titles)
    columns = [[title, *(row[at] for row in rows)] for at, title in enumerate(titles[:shown])]
    widths = widths_of(columns, out.width)
    if widths is None:
        for number, row in enumerate(rows):
            if number:
                out.print()
            _print_block(out, titles[:shown], row[:shown])
            if below:
                _print_whole(out, row[-1])
        return
    table = Table()
    for title, width in zip(titles[:shown], widths, strict=True):
        table.add_column(title, width=width, overflow="fold")
    for row in rows:
        # As text: what people entered is no markup.
        table.add_row(*map(Text, row[:shown]))
    out.print(table)
    if below:
        for row in rows:
            _print_whole(out, f"{' '.join(row[:2])}: {row[-1]}")


def widths_of(columns: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Return how wide each column is in ``room``; None where they do not fit."""
    most = [max(map(_longest_line, cells)) for cells in columns]
    least = [
        max(*map(_longest_word, cells), min(wide, _PROSE), 1)
        for cells, wide in zip(columns, most, strict=True)
    ]
    spare = room - sum(least) - _FRAME * len(columns) - 1
    if spare < 0:
        return None
    widths = list(least)
    # Who needs the least first, so that what it leaves goes to the others.
    waiting = sorted(range(len(columns)), key=lambda at: most[at] - least[at])
    for before, at in enumerate(waiting):
        given = min(most[at] - least[at], spare // (len(waiting) - before))
        widths[at] += max(given, 0)
        spare -= max(given, 0)
    return widths


def _print_block(out: Console, titles: Sequence[str], row: Sequence[str]) -> None:
    """Print a line a column that holds anything."""
    block = Table.grid(padding=(0, 2))
    block.add_column(no_wrap=True)
    block.add_column(overflow="fold")
    for title, cell in zip(titles, row, strict=True):
        if cell:
            block.add_row(Text(title, "dim"), Text(cell))
    out.print(block)


def _print_whole(out: Console, line: str) -> None:
    out.print(Text(line), soft_wrap=True)


def _longest_line(cell: str) -> int:
    return max(map(cell_len, cell.splitlines()), default=0)


def _longest_word(cell: str) -> int:
    return max(map(cell_len, cell.split()), default=0)
