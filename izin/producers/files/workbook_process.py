"""Reads a workbook in a process of its own: run as a script, with the path and a limit in bytes.

The library allocates whatever a workbook claims to need, and where it cannot, the process ends. So
this one has a limit, and nothing else to lose. It writes pickled values: what the workbook is, then
lists of rows, then None; or why it cannot be read.
"""

import pickle
import resource
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

_BATCH = 500
_LOOK = 30
"""So many rows of a hidden sheet say what it has."""
_CPU_SECONDS = 300
"""A workbook of a million rows takes a thirtieth of that."""


def main(path: str, memory: int, out: BinaryIO) -> None:
    """Write to ``out`` what stands in the first sheet of the workbook at ``path``."""
    for what, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        allowed = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (allowed, allowed))
    try:
        for value in _values(path):
            pickle.dump(value, out, pickle.HIGHEST_PROTOCOL)
    except BrokenPipeError:
        return
    except MemoryError:
        sys.exit(1)
    except BaseException as error:  # noqa: BLE001  # a panic of the library is no Exception
        pickle.dump(type(error).__name__, out, pickle.HIGHEST_PROTOCOL)
    out.flush()


def _values(path: str) -> Iterator[Any]:
    from python_calamine import (  # noqa: PLC0415  # within the limits
        CalamineWorkbook,
        SheetTypeEnum,
        SheetVisibleEnum,
    )

    with CalamineWorkbook.from_path(path) as book:
        sheets = [
            place
            for place, one in enumerate(book.sheets_metadata)
            if one.typ == SheetTypeEnum.WorkSheet and one.visible == SheetVisibleEnum.Visible
        ]
        # Where all are hidden, a file with one sheet is still a table.
        first, *others = sheets or range(len(book.sheet_names))
        sheet = book.get_sheet_by_index(first)
        filled = [one for one in others if book.get_sheet_by_index(one).height]
        size = 0 if sheet.end is None else sheet.end[0] + 1
        hidden = [
            (one.name, [[_value(cell) for cell in row] for row in islice(found.iter_rows(), _LOOK)])
            for place, one in enumerate(book.sheets_metadata)
            if sheets and place not in sheets and one.typ == SheetTypeEnum.WorkSheet
            if (found := book.get_sheet_by_index(place)).height
        ]
        yield sheet.name, size, [book.sheet_names[one] for one in filled], hidden
        batch: list[list[Any]] = []
        for cells in sheet.iter_rows():
            batch.append([_value(one) for one in cells])
            if len(batch) == _BATCH:
                yield batch
                batch = []
        yield batch
        yield None


def _value(cell: object) -> object:
    """Return ``cell`` with whole numbers as such, and None for an empty one."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return None if cell == "" else cell


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.stdout.buffer)
