"""Rows in the format of PostgreSQL's binary COPY: the fastest way in, and nothing to escape.

A row is the number of its columns, then for each column its size and its bytes, or -1 for null.
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

NULL: Final = b"\xff\xff\xff\xff"
SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""The bytes before the first row."""
END: Final = b"\xff\xff"
"""The bytes after the last row."""
EPOCH: Final = 946_684_800_000_000
"""2000-01-01, from which PostgreSQL counts, in microseconds since 1970."""

_SINCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)

_size = struct.Struct(">i").pack
_instant = struct.Struct(">iq").pack
_small = struct.Struct(">ih").pack
_integer = struct.Struct(">ii").pack
_INTEGER_TYPE: Final = 23
"""PostgreSQL's number of the type integer."""


def text(value: bytes | None) -> bytes:
    """Return a column of text (UTF-8), JSON or bytes."""
    return NULL if value is None else _size(len(value)) + value


def word(value: str | None) -> bytes:
    """Return a column of text."""
    return NULL if value is None else text(value.encode())


def moment(at: datetime | None) -> bytes:
    """Return a column of an instant."""
    return NULL if at is None else _instant(8, (at - _BEGIN) // timedelta.resolution)


def instant(microseconds: int | None) -> bytes:
    """Return a column of an instant, given in microseconds since 1970."""
    return NULL if microseconds is None else _instant(8, microseconds - EPOCH)


def small(value: int) -> bytes:
    """Return a column of a smallint."""
    return _small(2, value)


def integer(value: int) -> bytes:
    """Return a column of an integer."""
    return _integer(4, value)


def long(value: int) -> bytes:
    """Return a column of a bigint."""
    return _instant(8, value)


def boolean(value: bool) -> bytes:
    """Return a column of a boolean."""
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def integers(values: Sequence[int] | None) -> bytes:
    """Return a column of an array of integers."""
    if values is None:
        return NULL
    # The dimensions, whether there are nulls, the type; of the one dimension, size and lower bound.
    head = (1, 0, _INTEGER_TYPE, len(values), 1) if values else (0, 0, _INTEGER_TYPE)
    sizes = struct.pack(f">{len(head)}i", *head)
    return text(sizes + b"".join(map(integer, values)))


def microseconds(at: datetime) -> int:
    """Return ``at`` in microseconds since 1970, exactly."""
    return (at - _SINCE) // timedelta.resolution
