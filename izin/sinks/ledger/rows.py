"""Rows as PostgreSQL's binary COPY takes them: the fastest way in, and nothing to escape.

A row is its number of columns and then each column: its size and its bytes, or -1 for a null. Rows
are made a few hundred at a time while the server takes those before, so that both work at once.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from izin.sinks.ledger.database import Connection

NULL = b"\xff\xff\xff\xff"
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
EPOCH = 946_684_800_000_000
"""PostgreSQL counts from 2000; microseconds since 1970."""

_size = struct.Struct(">i").pack
_instant = struct.Struct(">iq").pack
_small = struct.Struct(">ih").pack
_integer = struct.Struct(">ii").pack


def text(value: bytes | None) -> bytes:
    """Return a column of text (UTF-8), JSON or bytes."""
    return NULL if value is None else _size(len(value)) + value


def instant(microseconds: int | None) -> bytes:
    """Return a column of an instant, given in microseconds since 1970."""
    return NULL if microseconds is None else _instant(8, microseconds - EPOCH)


def small(value: int) -> bytes:
    """Return a column of a smallint."""
    return _small(2, value)


def integer(value: int) -> bytes:
    """Return a column of an integer."""
    return _integer(4, value)


def boolean(value: bool) -> bytes:
    """Return a column of a boolean."""
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def microseconds(at: datetime) -> int:
    """Return ``at`` in microseconds since 1970, exactly."""
    whole = at.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000 + at.microsecond


async def copy(connection: Connection, statement: LiteralString, rows: Iterable[bytes]) -> None:
    """Write ``rows``, helpings of whole rows, by the COPY ``statement``.

    Between two helpings others on this loop have their turn.
    """
    async with connection.cursor() as cursor, cursor.copy(statement) as writer:
        await writer.write(_SIGNATURE)
        for helping in rows:
            await writer.write(helping)
            await asyncio.sleep(0)
        await writer.write(_END)
