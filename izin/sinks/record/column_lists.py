"""The one list of a row's columns: the fields of :class:`ConsentRow`, and what derives from them.

SQL, COPY and templates name columns by these lists (``ledger.db.queries``). The table itself is in
``ledger/migrations``; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from izin.sinks.record.brand import Brand
from izin.sinks.record.consent_row import ClaimedRow, ConsentRow

_SQL_TYPES = {
    "str": "text",
    "State": "text",
    "Action": "text",
    "int": "integer",
    "bool": "boolean",
    "datetime": "timestamp with time zone",
    "tuple[int, ...]": "integer[]",
}
_NARROW = {"desired_rank": "smallint", "ret_rank": "smallint"}

TYPES: Mapping[str, str] = MappingProxyType(
    {
        one.name: _NARROW.get(one.name, _SQL_TYPES[str(one.type).removesuffix(" | None")])
        for one in fields(ConsentRow)
    }
)
"""Every column of ``consents`` with its SQL type."""

OWN = tuple(
    one.name
    for one in fields(ConsentRow)
    if TYPES[one.name].startswith("timestamp") or "own" in one.metadata
)
"""The columns in which rows that change alike differ: what is a row's own."""

SHARED = tuple(name for name in TYPES if name not in OWN)
"""The columns that they share."""

COMPARED = tuple(
    one.name
    for one in fields(ConsentRow)
    if TYPES[one.name].startswith("timestamp") and one.metadata.get("compared", True)
)
"""The instants whose order counts where a row is ruled."""

IDENTITY = ("key", "brand_code", "channel", "recipient_type", "recipient")
"""The columns that never change."""

SAVED = tuple(name for name in TYPES if name not in IDENTITY)
"""The columns that are written when a row changes."""

DECIDED = SAVED[: SAVED.index("registered")]
"""The columns that the law decides; those behind them are what İYS holds and what is due to it."""

TERMS = ("due_at", "expires_at")
"""The columns of the ends of a term."""

SHADOW = (*IDENTITY, *DECIDED, *TERMS)
"""The columns that follow from the history alone, in the order of the COPY of a rebuild."""

LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "decided": DECIDED,
        "desired": tuple(name for name in DECIDED if not name.startswith("latest_")),
        "shadow": SHADOW,
        "saved": SAVED,
        "bulk": (*OWN, *SHARED),
        "claimed": ClaimedRow._fields[1:],
        "brand": tuple(one.name for one in fields(Brand)),
    }
)
"""The lists that SQL statements name in braces."""
