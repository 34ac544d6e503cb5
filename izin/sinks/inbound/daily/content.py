"""What is in İYS's daily file: its lines with their hash, and how they compare with our own.

A file whose hash is not İYS's is not stored. Whether İYS's hash covers a byte order mark and the
column names is not documented (reference 2.12), so the hash is made in each way, and İYS's own
shows which one is right.

İYS's file and ours are sorted by creation date and transaction id. Within one second İYS documents
no order, so that lines which stand in both are equal in any order there, and have İYS's. A line
that İYS's file has twice is one movement.
"""

import asyncio
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from enum import StrEnum
from itertools import groupby
from typing import BinaryIO, NamedTuple

from izin.iys.wire_format import known_prefixes, place_of, prefix_of
from izin.ledger.daily import lines
from izin.ledger.daily.files import Compared, DailyFile
from izin.ledger.db import Ledger

_Lines = list[tuple[int, bytes]]
"""Lines with their numbers in their file, from 1."""
_Group = tuple[bytes, _Lines]
_END: _Group = (b"\xff", [])
_BLOCK = 1024 * 1024
_LONGEST_START = 4096
"""Bytes within which the first line ends."""


def unnamed_file() -> BinaryIO:
    """Return a file for recipients: it has no name, so nothing of it is left when its process ends,
    however that ends.
    """
    return tempfile.TemporaryFile("w+b")


def blocks_of(lines: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file from its beginning, in blocks."""
    lines.seek(0)
    while block := lines.read(_BLOCK):
        yield block


class Download(ExitStack):
    """A daily file, written in chunks. Use it as a context manager: its lines end with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = self.enter_context(unnamed_file())
        """The lines, without what stands before them."""
        self.count = 0
        """How many lines there are; the last one may lack its end."""
        self._start: bytes | None = b""
        self._hashes: dict[bytes, hashlib._Hash] = {}
        self._last = b""

    def write(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises:
            UnreadableError: the file has other columns than İYS's.
        """
        if self._start is None:
            self._add(chunk)
            return
        self._start += chunk
        if b"\n" in self._start or len(self._start) >= _LONGEST_START:
            self._begin(self._start)

    def finish(self) -> None:
        """Note that the file is complete.

        Raises:
            UnreadableError: the file has other columns than İYS's.
        """
        if self._start is not None:
            self._begin(self._start)
        self.count += self._last not in {b"", b"\n"}
        self.lines.flush()

    def prefix_with(self, hash_value: str) -> bytes | None:
        """Return with what before the lines the SHA-384 in hex is ``hash_value``; None: with
        nothing known, so the file is not the one that İYS has hashed.
        """
        return next(
            (prefix for prefix, one in self._hashes.items() if one.hexdigest() == hash_value), None
        )

    def _begin(self, start: bytes) -> None:
        prefix, self._start = prefix_of(start), None
        self._hashes = {
            known_prefix: hashlib.sha384(known_prefix) for known_prefix in known_prefixes(prefix)
        }
        self._add(start.removeprefix(prefix))

    def _add(self, chunk: bytes) -> None:
        for digest in self._hashes.values():
            digest.update(chunk)
        self.lines.write(chunk)
        self.count += chunk.count(b"\n")
        self._last = chunk[-1:] or self._last


class HeldBy(StrEnum):
    """Which file has a line that the other has not."""

    IYS = "iys"
    HERE = "here"


class LineDifference(NamedTuple):
    """A line that only one of the files has."""

    side: HeldBy
    number: int
    """Of the line in İYS's file, from 1; 0 for one of ours."""
    line: bytes


def compare(theirs: Iterable[bytes], ours: Iterable[bytes], *, prefix: bytes) -> Compared:
    """Compare the lines of İYS's file with ``ours``; ``prefix`` is what stands before the lines
    where İYS made its hash.
    """
    digest, counts = hashlib.sha384(prefix), Counter[HeldBy]()
    for own, differing in by_place(theirs, ours):
        digest.update(b"".join(own))
        counts.update(difference.side for difference in differing)
    return Compared(
        own_hash=digest.hexdigest(),
        only_at_iys=counts[HeldBy.IYS],
        only_here=counts[HeldBy.HERE],
    )


def by_place(
    theirs: Iterable[bytes], ours: Iterable[bytes]
) -> Iterator[tuple[Sequence[bytes], Sequence[LineDifference]]]:
    """Yield of each place in the order our own lines, in İYS's order where both files have the
    same, and the lines that only one of them has.
    """
    for at_iys, here in _pairs(_groups(theirs), _groups(ours)):
        known, own = {line for _, line in at_iys}, {line for _, line in here}
        if known == own:
            yield [line for _, line in at_iys], ()
            continue
        missing = {line: number for number, line in reversed(at_iys) if line not in own}
        found = [LineDifference(HeldBy.IYS, number, line) for line, number in missing.items()]
        found.sort(key=lambda one: one.number)
        found += [LineDifference(HeldBy.HERE, 0, line) for line in sorted(own - known)]
        yield sorted(own), found


def _groups(file: Iterable[bytes]) -> Iterator[_Group]:
    """Yield lines with their numbers by their place in the order; an erased one says nothing."""
    numbered = ((number, line) for number, line in enumerate(file, 1) if line != lines.ERASED)
    for place, group in groupby(numbered, key=lambda one: place_of(one[1])):
        yield place, list(group)


def _pairs(theirs: Iterator[_Group], ours: Iterator[_Group]) -> Iterator[tuple[_Lines, _Lines]]:
    """Yield the lines of each place in both files; of one that a file lacks it has none."""
    left, right = next(theirs, _END), next(ours, _END)
    while left is not _END or right is not _END:
        at_iys, here = left[0] <= right[0], right[0] <= left[0]
        yield left[1] if at_iys else [], right[1] if here else []
        left = next(theirs, _END) if at_iys else left
        right = next(ours, _END) if here else right


class FileCheck(ExitStack):
    """A stored file beside our own of the day. Use it as a context manager.

    Neither is held in memory: they are in files without a name.
    """

    def __init__(self, ledger: Ledger, file: DailyFile, *, empty_date: str) -> None:
        super().__init__()
        self._ledger = ledger
        self._file = file
        self._empty_date = empty_date
        self._theirs, self._ours = (self.enter_context(unnamed_file()) for _ in range(2))

    async def compare(self) -> Compared:
        """Compare both files; ours has the line ends of İYS's."""
        async for block in lines.read(self._ledger, self._file):
            self._theirs.write(block)
        await lines.write_own(
            self._ledger, self._file, self._ours.write, empty_date=self._empty_date
        )
        prefix = self._file.hashed_prefix or b""
        return await asyncio.to_thread(lambda: compare(*self._lines(), prefix=prefix))

    def _lines(self) -> tuple[Iterable[bytes], Iterable[bytes]]:
        """Return the lines of both files, from their beginnings."""
        for one in (self._theirs, self._ours):
            one.seek(0)
        ours: Iterable[bytes] = self._ours
        if self._theirs.readline().endswith(b"\r\n"):
            ours = (line[:-1] + b"\r\n" for line in self._ours)
        self._theirs.seek(0)
        return self._theirs, ours

    def differences(self) -> Iterator[LineDifference]:
        """Yield how the files differ, in the order of İYS's, once both were compared; lines are
        without their ends.
        """
        for _, differing in by_place(*self._lines()):
            for difference in differing:
                yield difference._replace(line=difference.line.rstrip(b"\r\n"))

    def hash_value(self) -> str:
        """Return the SHA-384 of the stored file in hex, once both were compared."""
        digest = hashlib.sha384(self._file.hashed_prefix or b"")
        for block in blocks_of(self._theirs):
            digest.update(block)
        return digest.hexdigest()
