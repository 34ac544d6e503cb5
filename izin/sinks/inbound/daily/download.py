"""A daily file as it is downloaded: its lines in a file without a name, and its hash.

Whether İYS's hash covers a byte order mark and the column names is not documented (reference 2.12),
so the hash is made in each way, and İYS's own shows which one is right.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Self

from izin.iys.wire_format.daily_file import known_prefixes, prefix_of

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


class Download:
    """A daily file, written in chunks. Use it as a context manager: its lines end with it."""

    def __init__(self) -> None:
        self.lines = unnamed_file()
        """The lines, without what stands before them."""
        self.count = 0
        """How many lines there are; the last one may lack its end."""
        self._start: bytes | None = b""
        self._hashes: dict[bytes, hashlib._Hash] = {}
        self._last = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.lines.close()

    def write(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises:
            UnreadableError: the file has other columns than İYS's.
        """
        if self._start is not None:
            self._start += chunk
            if b"\n" not in self._start and len(self._start) < _LONGEST_START:
                return
            chunk, self._start = self._begin(self._start), None
        self._add(chunk)

    def finish(self) -> None:
        """Note that the file is complete.

        Raises:
            UnreadableError: the file has other columns than İYS's.
        """
        if self._start is not None:
            rest, self._start = self._begin(self._start), None
            self._add(rest)
        self.count += self._last not in {b"", b"\n"}
        self.lines.flush()

    def hashes(self) -> Mapping[bytes, str]:
        """Return the SHA-384 in hex by what is taken to stand before the lines."""
        return {prefix: one.hexdigest() for prefix, one in self._hashes.items()}

    def prefix_with(self, hash_value: str) -> bytes | None:
        """Return with what before the lines the hash is ``hash_value``; None: with nothing known,
        so the file is not the one that İYS has hashed.
        """
        return next((one for one, its in self.hashes().items() if its == hash_value), None)

    def _begin(self, start: bytes) -> bytes:
        prefix = prefix_of(start)
        self._hashes = {one: hashlib.sha384(one) for one in known_prefixes(prefix)}
        return start.removeprefix(prefix)

    def _add(self, chunk: bytes) -> None:
        for one in self._hashes.values():
            one.update(chunk)
        self.lines.write(chunk)
        self.count += chunk.count(b"\n")
        self._last = chunk[-1:] or self._last
