"""Which line or row of a table names its columns: the first, or one below titles.

It is the one with the most known names. One below the first must be a header beyond doubt: most of
its cells are known names, and none is data.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

MOST_TITLES: Final = 30
"""How many lines or rows are searched."""
_DATA: Final = re.compile(r"@|(?:[0-9][^0-9]{0,2}){5}")
"""In an address, a number, a date."""

Score = Callable[[Sequence[str]], int]
"""How many of the names of columns are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The names of the columns, and where they stand."""

    line: int
    last_line: int
    """The same, unless a name has a line break."""
    fields: tuple[str, ...]
    delimiter: str


def best_header(candidates: Iterable[Header], score: Score) -> Header | None:
    """Return the header of a table whose lines begin with ``candidates``, in their order, one line
    being split in several ways; None if all are empty.
    """
    found: list[tuple[int, int, int, Header]] = []
    for one in candidates:
        filled = [cell for cell in one.fields if cell.strip()]
        known = score(one.fields) if filled else 0
        is_first = not found or one.line == found[0][-1].line
        if filled and (is_first or (known * 2 > len(filled) and not _has_data(filled))):
            found.append((known, -one.line, len(one.fields), one))
    return max(found, key=lambda one: one[:-1])[-1] if found else None


def without_empty_end(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``fields`` without empty ones at the end, which spreadsheets append."""
    while fields and not fields[-1].strip():
        fields = fields[:-1]
    return fields


def _has_data(cells: Sequence[str]) -> bool:
    return any(_DATA.search(one) for one in cells)
