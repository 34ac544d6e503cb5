"""The named statements of ``sql/*.sql``: a ``-- name:`` line, a comment on what it does, the SQL.

Code names a statement and never builds one from pieces. ``{saved}`` stands for a list of columns of
``record.consent_row``, ``{saved:r}`` for the same of the table ``r``.
"""

import re
from collections.abc import Mapping
from importlib import resources
from typing import LiteralString

from izin.ledger.record import LISTS

_MARK = "-- name: "
_COLUMNS = re.compile(r"\{(\w+)(?::(\w+))?\}")


def statements(file: str, package: str = "izin.ledger") -> Mapping[str, LiteralString]:
    """Return the statements of ``sql/<file>.sql`` of a package by name."""
    text = (resources.files(package) / "sql" / f"{file}.sql").read_text("utf-8")
    found: dict[str, LiteralString] = {}
    for section in text.split(_MARK)[1:]:
        name, _, body = section.partition("\n")
        # A statement comes from a file of this package, never from input.
        found[name.strip()] = _COLUMNS.sub(_columns, body.strip().rstrip(";"))
    return found


def _columns(place: re.Match[str]) -> str:
    names, table = LISTS[place[1]], place[2]
    return ", ".join(names if table is None else [f"{table}.{name}" for name in names])
