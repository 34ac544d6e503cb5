"""Compare a stored daily file with our own of the day: its lines, and its hash."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from izin.sinks.inbound.daily.comparison import Compared, LineDifference, Side, compare
from izin.sinks.inbound.daily.download import blocks_of, unnamed_file
from izin.sinks.ledger.daily import lines
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.db.connection import Ledger


class FileCheck:
    """A stored file beside our own of the day. Use it as a context manager.

    Neither is held in memory: they, and how they differ, are in files without a name.
    """

    def __init__(self, ledger: Ledger, file: DailyFile, *, empty_date: str) -> None:
        self._ledger = ledger
        self._file = file
        self._empty_date = empty_date
        self._stack = ExitStack()
        self._theirs, self._ours, self._differences = (
            self._stack.enter_context(unnamed_file()) for _ in range(3)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

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
