"""The lines of İYS's daily files in the ledger, and those of our own file of a day."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from izin.consent.due_dates import TURKEY
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements

_SIZE = 4 * 1024 * 1024
"""Bytes of lines in one part, about."""
FEW = 4
"""Parts that are read at once."""
_FASTEST = 1
_PART_COLUMNS = (4).to_bytes(2, "big")
_PG_EPOCH = date(2000, 1, 1)
_SQL = statements("daily")


def packed(content: bytes) -> bytes:
    """Return lines as a part stores them."""
    return zlib.compress(content, _FASTEST)


def unpacked(content: bytes) -> bytes:
    """Return the lines of a stored part."""
    return zlib.decompress(content)


async def store(connection: Connection, file: DailyFile, blocks: Iterable[bytes]) -> None:
    """Store the lines of a file, given in ``blocks`` of any size."""
    await copy(connection, _SQL["copy-parts"], _rows(file, blocks))


def _rows(file: DailyFile, blocks: Iterable[bytes]) -> Iterator[bytes]:
    head = _PART_COLUMNS + copy_format.integer(file.brand_code) + _day(file.day)
    for number, content in enumerate(_whole_lines(blocks)):
        yield head + copy_format.integer(number) + copy_format.text(packed(content))


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        rest += block
        if len(rest) >= _SIZE:
            whole, newline, rest = rest.rpartition(b"\n")
            if newline:
                yield whole + newline
    if rest:
        yield rest


def _day(day: date) -> bytes:
    """Return a column of a date."""
    return copy_format.integer((day - _PG_EPOCH).days)


async def read(ledger: Ledger, file: DailyFile) -> AsyncIterator[bytes]:
    """Yield the stored lines of a file, some megabytes at a time."""
    first = 0
    while True:
        values = file.place | {"first": first, "size": FEW}
        rows = await ledger.fetch(_SQL["parts"], values)
        if not rows:
            return
        for row in rows:
            yield unpacked(row["content"])
        first = rows[-1]["part"] + 1


async def has_own(ledger: Ledger, brand_code: int, day: date) -> bool:
    """Return whether İYS's streams showed a movement of a brand on a day."""
    (row,) = await ledger.fetch(_SQL["has-own"], _within(brand_code, day))
    return bool(row["has"])


async def write_own(
    ledger: Ledger, file: DailyFile, write: Callable[[bytes], object], *, empty_date: str
) -> None:
    """Pass our own file of a day to ``write``: what İYS's streams showed, in the order of its file;
    an empty consent date is written as ``empty_date``.
    """
    values = _within(file.brand_code, file.day) | {"empty_date": empty_date}
    async with (
        ledger.transaction() as connection,
        connection.cursor() as cursor,
        cursor.copy(_SQL["own-lines"], values) as rows,
    ):
        async for block in rows:
            content = bytes(block)
            # COPY doubles it.
            write(content.replace(b"\\\\", b"\\") if b"\\" in content else content)


def _within(brand_code: int, day: date) -> dict[str, Any]:
    """Return a day of a brand as parameters: its instants as the history writes them."""
    first = datetime.combine(day, time(), TURKEY)
    begins, ends = (at.astimezone(UTC).isoformat() for at in (first, first + timedelta(days=1)))
    return {"brand": str(brand_code), "first": begins, "end": ends}
