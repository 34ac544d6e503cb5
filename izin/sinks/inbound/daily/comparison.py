"""Compare İYS's daily file with our own of the day, line by line.

Both are sorted by creation date and transaction id. Within one second İYS documents no order, so
that lines which stand in both are equal in any order there, and have İYS's. A line that İYS's file
has twice is one movement.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import NamedTuple

from izin.iys.wire_format.daily_file import place_of
from izin.sinks.inbound.daily.fetching import blocks_of, unnamed_file
from izin.sinks.ledger.daily import lines
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.daily.lines import ERASED
from izin.sinks.ledger.db import Ledger

_AT_ONCE = 4096
_END = (b"\xff", ())
_Group = tuple[bytes, tuple[tuple[int, bytes], ...]]


class Side(StrEnum):
    """Which file has a line that the other has not."""

    IYS = "iys"
    HERE = "here"


class LineDifference(NamedTuple):
    """A line that only one of the files has."""

    side: Side
    number: int
    """Of the line in İYS's file, from 1; 0 for one of ours."""
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison found."""

    own_hash: str
    """The SHA-384 of our own file in hex, its lines in İYS's order where both have them."""
    only_at_iys: int
    only_here: int

    @property
    def differs(self) -> bool:
        """Whether a line is in one file alone."""
        return bool(self.only_at_iys or self.only_here)


def compare(
    theirs: Iterable[bytes],
    ours: Iterable[bytes],
    *,
    prefix: bytes,
    note: Callable[[LineDifference], object],
) -> Compared:
    """Compare the lines of İYS's file with ``ours``, and ``note`` what only one of them has.

    ``prefix`` is what stands before the lines where İYS made its hash.
    """
    digest, waiting = hashlib.sha384(prefix), list[bytes]()
    counts = {Side.IYS: 0, Side.HERE: 0}
    for at_iys, here in _pairs(_groups(theirs), _groups(ours)):
        if len(waiting) >= _AT_ONCE:
            digest.update(b"".join(waiting))
            waiting.clear()
        if [line for _, line in at_iys] == [line for _, line in here]:
            waiting += [line for _, line in at_iys]
            continue
        known, own = {line for _, line in at_iys}, {line for _, line in here}
        if known == own:
            waiting += [line for _, line in at_iys]
            continue
        waiting += sorted(own)
        missing = {line: number for number, line in reversed(at_iys) if line not in own}
        found = [LineDifference(Side.IYS, number, line) for line, number in missing.items()]
        found.sort(key=lambda one: one.number)
        found += [LineDifference(Side.HERE, 0, line) for line in sorted(own - known)]
        for one in found:
            counts[one.side] += 1
            note(one)
    digest.update(b"".join(waiting))
    return Compared(
        own_hash=digest.hexdigest(),
        only_at_iys=counts[Side.IYS],
        only_here=counts[Side.HERE],
    )


def _groups(lines: Iterable[bytes]) -> Iterator[_Group]:
    """Yield lines with their numbers by their place in the order; an erased one says nothing."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line != ERASED)
    for place, group in groupby(numbered, key=lambda one: place_of(one[1])):
        yield place, tuple(group)


def _pairs(
    theirs: Iterator[_Group], ours: Iterator[_Group]
) -> Iterator[tuple[tuple[tuple[int, bytes], ...], tuple[tuple[int, bytes], ...]]]:
    """Yield the lines of each place in both files; of one that a file lacks it has none."""
    left, right = next(theirs, _END), next(ours, _END)
    while left is not _END or right is not _END:
        if left[0] == right[0]:
            yield left[1], right[1]
            left, right = next(theirs, _END), next(ours, _END)
        elif left[0] < right[0]:
            yield left[1], ()
            left = next(theirs, _END)
        else:
            yield (), right[1]
            right = next(ours, _END)


class FileCheck(ExitStack):
    """A stored file beside our own of the day. Use it as a context manager.

    Neither is held in memory: they, and how they differ, are in files without a name.
    """

    def __init__(self, ledger: Ledger, file: DailyFile, *, empty_date: str) -> None:
        super().__init__()
        self._ledger = ledger
        self._file = file
        self._empty_date = empty_date
        self._theirs, self._ours, self._differences = (
            self.enter_context(unnamed_file()) for _ in range(3)
        )

    async def compare(self) -> Compared:
        """Compare both files; ours has the line ends of İYS's."""
        async for block in lines.read(self._ledger, self._file):
            self._theirs.write(block)
        await lines.write_own(
            self._ledger, self._file, self._ours.write, empty_date=self._empty_date
        )
        return await asyncio.to_thread(self._compare)

    def _compare(self) -> Compared:
        for one in (self._theirs, self._ours):
            one.seek(0)
        ours: Iterable[bytes] = self._ours
        if self._theirs.readline().endswith(b"\r\n"):
            ours = (line[:-1] + b"\r\n" for line in self._ours)
        self._theirs.seek(0)
        return compare(self._theirs, ours, prefix=self._file.hashed_prefix or b"", note=self._note)

    def _note(self, one: LineDifference) -> None:
        self._differences.write(b"%b %d %b\n" % (one.side.encode(), one.number, _ended(one.line)))

    def differences(self) -> Iterator[LineDifference]:
        """Yield how the files differ, in the order of İYS's."""
        self._differences.seek(0)
        for entry in self._differences:
            side, number, line = entry.rstrip(b"\n").split(b" ", 2)
            yield LineDifference(Side(side.decode()), int(number), line)

    def hash_value(self) -> str:
        """Return the SHA-384 of the stored file in hex, once both were compared."""
        digest = hashlib.sha384(self._file.hashed_prefix or b"")
        for block in blocks_of(self._theirs):
            digest.update(block)
        return digest.hexdigest()


def _ended(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")
