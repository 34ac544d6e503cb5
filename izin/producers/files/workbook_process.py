"""Reads a workbook in a process of its own: run as a script, with the path and a limit in bytes.

The library allocates whatever a workbook claims to need, and where it cannot, the process ends. So
this one has a limit, and nothing else to lose. It writes pickled values: what the workbook is, then
lists of rows, then None; or why it cannot be read.

Of a cell that has no value, for its formula was never computed or gives an error, the library says
that it is empty. Such a cell is none that says nothing, so they are looked up in the sheet itself.
"""

import pickle
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO
from zipfile import ZipFile

_BATCH = 500
_LOOK = 30
"""So many rows of a hidden sheet say what it has."""
_CPU_SECONDS = 300
"""A workbook of a million rows takes a thirtieth of that."""
_PIECE = 1 << 20
_ERROR = b't="e"'
_NO_VALUE = "#=?"
"""In place of a formula that was never computed."""
_SHEET = re.compile(rb'<sheet [^>]*?r:id="([^"]+)"')
_PART = re.compile(rb"<Relationship ([^>]+)>")
_ATTRIBUTE = re.compile(rb'(\w+)="([^"]*)"')
_CELL = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"([^>]*)(?<!/)>(.*?)</c>', re.DOTALL)
_CONTENT = re.compile(rb"<v[^>/]*>([^<]*)</v>")


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
        unread, left = _unread(path, first), 0 if sheet.start is None else sheet.start[1]
        for number, cells in enumerate(sheet.iter_rows(), 1):
            values = [_value(one) for one in cells]
            for column, text in unread.get(number, {}).items():
                if (place := column - left) < 0:
                    continue
                values += [None] * (place + 1 - len(values))
                values[place] = text if values[place] is None else values[place]
            batch.append(values)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        yield batch
        yield None


def _unread(path: str, sheet: int) -> Mapping[int, Mapping[int, str]]:
    """Return what stands in the cells without a value of that sheet, by row and column."""
    found: dict[int, dict[int, str]] = {}
    with ZipFile(path) as book:
        if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= set(book.namelist()):
            return found  # a binary workbook
        ids = _SHEET.findall(book.read("xl/workbook.xml"))
        parts = {}
        for one in _PART.findall(book.read("xl/_rels/workbook.xml.rels")):
            named = dict(_ATTRIBUTE.findall(one))
            parts[named.get(b"Id")] = named.get(b"Target", b"").decode()
        name = parts.get(ids[sheet], "")
        with book.open(name[1:] if name.startswith("/") else f"xl/{name}") as stream:
            rest = b""
            while piece := stream.read(_PIECE):
                text = rest + piece
                rest = text[text.rfind(b"<c ") :] if b"<c " in text else b""
                if _ERROR in text or b"<f" in text:
                    for column, row, more, content in _CELL.findall(text):
                        if shown := _shown(more, content):
                            found.setdefault(int(row), {})[_place(column)] = shown
    return found


def _shown(attributes: bytes, content: bytes) -> str:
    """Return what stands in a cell without a value; nothing where it has one, or is empty."""
    value = _CONTENT.search(content)
    text = "" if value is None else value[1].decode(errors="replace")
    if _ERROR in attributes:
        return text if text.startswith("#") else _NO_VALUE
    return _NO_VALUE if b"<f" in content and not text and b"t=" not in attributes else ""


def _place(column: bytes) -> int:
    """Return the index of a column by its letters."""
    index = 0
    for letter in column:
        index = index * 26 + letter - 64
    return index - 1


def _value(cell: object) -> object:
    """Return ``cell`` with whole numbers as such, and None for an empty one."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return None if cell == "" else cell


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.stdout.buffer)
