"""Tables that fit the terminal and truncate nothing: a code, key or id without its end is useless.

Every column has room for its longest word, and for some of its prose. Where the terminal is too
narrow, each row is printed as a block, a line a column. Commands to type are below the table, in
whole lines that the terminal may wrap and a person can copy. Controls are written out, before the
width of anything is counted.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from izin.consent.texts import visible

_PROSE = 20
"""Characters a column of prose needs at least; lines of one word each are unreadable."""
_FRAME = 3
"""Characters of each column that lines and blanks take."""


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
