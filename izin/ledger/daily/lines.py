"""The lines of İYS's daily files in the ledger, and those of our own file of a day.

Those of one recipient are found, and erased with the history.
"""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

from izin.consent import TURKEY, ConsentKey
from izin.iys.wire_format import COLUMNS
from izin.ledger.daily import files
from izin.ledger.daily.files import DailyFile
from izin.ledger.db import Connection, Ledger, copy, copy_format, fetch, statements

_SIZE = 4 * 1024 * 1024
"""Bytes of lines in one part, about."""
FEW = 4
"""Parts that are read at once."""
_FASTEST = 1
_PART_COLUMNS = (4).to_bytes(2, "big")
_PG_EPOCH = date(2000, 1, 1)
_SQL = statements("daily")
ERASED = b"erased\n"
"""What stands in place of an erased line."""
_RECIPIENT, _RECIPIENT_TYPE, _TYPE = map(COLUMNS.index, ("recipient", "recipientType", "type"))
SHOWING = frozenset({"observation", "answer"})
"""The kinds of facts of the history that have when İYS created a movement."""
Shown = tuple[str, str]
"""A movement that İYS showed: its key, and its creation date in ISO's notation."""


def packed(content: bytes) -> bytes:
    """Return lines as a part stores them."""
    return zlib.compress(content, _FASTEST)


def unpacked(content: bytes) -> bytes:
    """Return the lines of a stored part."""
    return zlib.decompress(content)


async def store(connection: Connection, file: DailyFile, blocks: Iterable[bytes]) -> None:
    """Store the lines of a file, given in ``blocks`` of any size."""
    head = (
        _PART_COLUMNS
        + copy_format.integer(file.brand_code)
        + copy_format.integer((file.day - _PG_EPOCH).days)
    )
    parts = (
        head + copy_format.integer(number) + copy_format.text(packed(content))
        for number, content in enumerate(_whole_lines(blocks))
    )
    await copy(connection, _SQL["copy-parts"], parts)


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


async def read(ledger: Ledger, file: DailyFile) -> AsyncIterator[bytes]:
    """Yield the stored lines of a file, some megabytes at a time."""
    values = file.place | {"first": 0, "size": FEW}
    while rows := await ledger.fetch(_SQL["parts"], values):
        for row in rows:
            yield unpacked(row["content"])
        values["first"] = rows[-1]["part"] + 1


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


class FoundLines(NamedTuple):
    """The lines of some keys in the file of a day, without their ends."""

    file: DailyFile
    hash_value: str
    """The SHA-384 of the file as it is stored, in hex: with erased lines not İYS's."""
    lines: Sequence[str]

    @property
    def integrity(self) -> str:
        """Whether the stored file has İYS's hash: ``ok``, ``wrong``, or ``erased`` lines."""
        if self.file.redacted:
            return "erased"
        return "ok" if self.hash_value == self.file.hash_value else "wrong"


def shown_by(facts: Iterable[tuple[str, str, Any]]) -> Iterator[Shown]:
    """Yield the movements that İYS showed, of facts of the history: their kind, key and data."""
    for kind, key, data in facts:
        created = data.get("creation_date") if isinstance(data, dict) else None
        if kind in SHOWING and created is not None:
            yield key, created


async def erase(connection: Connection, shown: Iterable[Shown]) -> int:
    """Erase the lines of movements from the files; return how many.

    They are found by the day on which İYS showed them, for every line of a file is in the history
    too. İYS's hash and its time stamp stay, and are of the file as it was.
    """
    keys, count = _by_file(shown), 0
    wanted = sorted(keys)
    values = {"brands": [brand for brand, _ in wanted], "days": [day for _, day in wanted]}
    for file in await fetch(connection, _SQL["lock-days"], values):
        place = {"brand_code": file["brand_code"], "day": file["day"]}
        erased = await _erase_from(connection, place, keys[file["brand_code"], file["day"]])
        await connection.execute(_SQL["redacted"], {**place, "count": erased})
        count += erased
    return count


def _by_file(shown: Iterable[Shown]) -> dict[tuple[int, date], set[ConsentKey]]:
    """Return the keys of movements by the brand and day of the files that have them."""
    keys = defaultdict[tuple[int, date], set[ConsentKey]](set)
    for text, created in shown:
        key = ConsentKey.parse(text)
        keys[key.brand_code, datetime.fromisoformat(created).astimezone(TURKEY).date()].add(key)
    return keys


async def _erase_from(
    connection: Connection, place: Mapping[str, Any], keys: set[ConsentKey]
) -> int:
    values, count = {**place, "first": 0, "size": FEW}, 0
    while rows := await fetch(connection, _SQL["parts"], values):
        for row in rows:
            content, erased = without(unpacked(row["content"]), keys)
            if erased:
                await connection.execute(
                    _SQL["rewrite-part"],
                    {**place, "part": row["part"], "content": packed(content)},
                )
            count += erased
        values["first"] = rows[-1]["part"] + 1
    return count


def without(content: bytes, keys: Iterable[ConsentKey]) -> tuple[bytes, int]:
    """Return lines with those of ``keys`` erased, and how many these are."""
    found = [number for number, _ in of_keys(content, keys)]
    if not found:
        return content, 0
    lines = content.splitlines(keepends=True)
    for number in found:
        lines[number] = ERASED
    return b"".join(lines), len(found)


def of_keys(content: bytes, keys: Iterable[ConsentKey]) -> Iterator[tuple[int, bytes]]:
    """Yield the places (from 0) of the lines of ``keys``, with the lines."""
    whose = {(key.recipient.lower(), str(key.recipient_type), str(key.channel)) for key in keys}
    recipients = [recipient.encode() for recipient, _, _ in whose]
    lower = content.lower()
    if not any(one in lower for one in recipients):
        return
    for number, line in enumerate(content.splitlines(keepends=True)):
        lower = line.lower()
        if not any(one in lower for one in recipients):
            continue
        cells = line.decode("utf-8", "replace").rstrip("\r\n").split(",")
        if len(cells) < len(COLUMNS):
            continue
        if (cells[_RECIPIENT].strip('" ').lower(), cells[_RECIPIENT_TYPE], cells[_TYPE]) in whose:
            yield number, line


async def by_file(ledger: Ledger, shown: Iterable[Shown]) -> AsyncIterator[FoundLines]:
    """Yield the lines of the keys of movements, file by file, in the order of brand and day."""
    for (brand_code, day), keys in sorted(_by_file(shown).items(), key=itemgetter(0)):
        file = await files.one(ledger, brand_code, day)
        if file is None or file.lines is None:
            continue
        digest, found = hashlib.sha384(file.hashed_prefix or b""), list[str]()
        async for content in read(ledger, file):
            digest.update(content)
            found += [
                line.decode("utf-8", "replace").rstrip("\r\n") for _, line in of_keys(content, keys)
            ]
        yield FoundLines(file, digest.hexdigest(), found)


async def find(ledger: Ledger, shown: Iterable[Shown]) -> list[Mapping[str, object]]:
    """Return the lines of movements in the files, with brand and day."""
    return [
        {"brand_code": one.file.brand_code, "day": one.file.day, "line": line}
        async for one in by_file(ledger, shown)
        for line in one.lines
    ]
