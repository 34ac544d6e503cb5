"""SQL lives in ``.sql`` files, each statement under a ``-- name:`` line with a comment that says
what it keeps.

Code names a statement; nobody builds one from pieces.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK = "-- name: "


def statements(file: str) -> Mapping[str, LiteralString]:
    """Return the statements of ``sql/<file>.sql`` by name."""
    text = (resources.files("izin.sinks.ledger") / "sql" / f"{file}.sql").read_text("utf-8")
    found: dict[str, LiteralString] = {}
    for section in text.split(_MARK)[1:]:
        name, _, body = section.partition("\n")
        # A statement comes from a file of this package, never from input.
        found[name.strip()] = body.strip().rstrip(";")
    return found
