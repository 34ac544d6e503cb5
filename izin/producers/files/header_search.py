"""Which line or row of a table names its columns: the first, or one below titles.

It is the one with the most known names. One below the first must be a header beyond doubt: most of
its cells are known names, and none is data. What stands above it is a title, and where it may be a
row it is named: a person says which line is the header.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from izin.producers.files.cells import is_recipient, notation_text

MOST_TITLES: Final = 30
"""How many lines or rows are searched."""
_DATA: Final = re.compile(r"@|(?:[0-9][^0-9]{0,2}){5}")
"""In an address, a number, a date."""

_PARTS: Final = re.compile(r"[:;,|\t]")

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
    stray: int | None = None
    """The first line or row above that may be one of the table: it has a recipient, or as many
    cells."""

    @property
    def filled(self) -> list[str]:
        """The cells that are not empty."""
        return [cell for cell in self.fields if cell.strip()]


def best_header(
    candidates: Iterable[Header], score: Score, row: int | None = None
) -> Header | None:
    """Return the header of a table whose lines begin with ``candidates``, in their order, one line
    being split in several ways; None if all are empty. It is in the line ``row``, if that is given.
    """
    found: list[tuple[int, int, int, Header]] = []
    seen = list(candidates)
    for one in seen:
        filled = one.filled
        if not filled or row not in {None, one.line}:
            continue
        known = score(one.fields)
        is_first = not found or one.line == found[0][-1].line
        if is_first or (known * 2 > len(filled) and not _has_data(filled)):
            found.append((known, -one.line, len(one.fields), one))
    if not found:
        return None
    head = max(found, key=lambda one: one[:-1])[-1]
    strays = (one.line for one in seen if one.line < head.line and _may_be_row(one, head))
    return replace(head, stray=None if row is not None else next(strays, None))


def _may_be_row(one: Header, head: Header) -> bool:
    """Whether ``one``, a line above the header, may be a row of its table."""
    if one.delimiter == head.delimiter and len(one.filled) >= len(head.filled):
        return True
    parts = (part for cell in one.filled for part in _PARTS.split(cell))
    return any(is_recipient(notation_text(part)) for part in parts)


def without_empty_end(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``fields`` without empty ones at the end, which spreadsheets append."""
    while fields and not fields[-1].strip():
        fields = fields[:-1]
    return fields


def _has_data(cells: Sequence[str]) -> bool:
    return any(_DATA.search(one) for one in cells)
