"""A delimited text file: its encoding, its delimiter, its rows.

A file is read twice and never held in memory: once for digest and encoding, once for the rows.
Accepted are UTF-8 (with or without a BOM) and Windows-1254, which Turkish desktop programs write,
with `;`, `,` or TAB. A quote that is never closed costs one line, not the rest of the file.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

from izin.consent.errors import SourceError

DELIMITERS = (";", ",", "\t")

_CHUNK = 1024 * 1024
_MAX_LINE = 256 * 1024
_MAX_RECORD_LINES = 50
"""How many lines a quoted field may span."""
_NOT_IN_1254 = re.compile(rb"[\x81\x8d\x8e\x8f\x90\x9d\x9e]")
_SEPARATOR_LINE = re.compile(r'"?sep=."?\n', re.IGNORECASE)
_UTF_8 = "utf-8-sig"
_WINDOWS_1254 = "cp1254"
_UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ZIP_MAGIC = b"PK\x03\x04"


class UnusableFileError(SourceError):
    """A file that cannot be read as delimited text."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path.name}: {what}")
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """The result of the first pass over a file."""

    path: Path
    digest: str
    """SHA-256 of its bytes."""
    encoding: str
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One row: the line it starts on, its fields, and the position in the file after it."""

    line: int
    fields: tuple[str, ...]
    position: int
    """Bytes read so far."""
    fault: str | None = None
    """Why the fields cannot be separated; then ``fields`` is the whole line."""


def examine(path: Path) -> TextFile:
    """Return the digest and the encoding of the file.

    Raises:
        UnusableFileError: it is not delimited text in a known encoding.
    """
    digest = hashlib.sha256()
    utf_8 = codecs.getincrementaldecoder("utf-8")()
    is_utf_8, stray, size = True, None, 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                if size == 0:
                    _check_magic(path, chunk)
                if (zero := chunk.find(0)) >= 0:
                    raise UnusableFileError(
                        path, f"binary data at byte {size + zero}; save the table as CSV (UTF-8)"
                    )
                digest.update(chunk)
                is_utf_8 = is_utf_8 and _decodes(utf_8, chunk)
                if stray is None and (found := _NOT_IN_1254.search(chunk)):
                    stray = size + found.start()
                size += len(chunk)
        stat = path.stat()
    except OSError as error:
        raise UnusableFileError(path, f"cannot be opened: {error.strerror}") from error
    if size == 0:
        raise UnusableFileError(path, "the file is empty; export it again")
    is_utf_8 = is_utf_8 and _decodes(utf_8, b"", final=True)
    if not is_utf_8 and stray is not None:
        raise UnusableFileError(
            path, f"byte {stray} is neither UTF-8 nor Windows-1254; save the table as CSV (UTF-8)"
        )
    return TextFile(
        path=path,
        digest=digest.hexdigest(),
        encoding=_UTF_8 if is_utf_8 else _WINDOWS_1254,
        size=size,
        modified_ns=stat.st_mtime_ns,
    )


def header(file: TextFile, score: Callable[[tuple[str, ...]], int]) -> tuple[str, tuple[str, ...]]:
    """Return the delimiter and the header: the split of line 1 with the highest ``score``, and of
    equal scores the one with the most fields.
    """
    with _Lines(file) as lines:
        first = lines.read_header()
    splits = {one: _split(first.rstrip("\n"), one) or (first,) for one in DELIMITERS}
    delimiter = max(splits, key=lambda one: (score(splits[one]), len(splits[one])))
    if not any(one.strip() for one in splits[delimiter]):
        raise UnusableFileError(file.path, "line 1 is empty; it must name the columns")
    return delimiter, splits[delimiter]


def rows(file: TextFile, delimiter: str, width: int) -> Iterator[FileRow]:
    """Yield each row after the header; ``width`` is its number of fields.

    Raises:
        UnusableFileError: the file changed meanwhile.
    """
    with _Lines(file) as lines:
        lines.read_header()
        while line := lines.read():
            start = lines.number
            if line.isspace():
                continue
            text = line.rstrip("\n")
            if '"' not in text:
                fields: tuple[str, ...] | None = tuple(text.split(delimiter))
            else:
                fields = _quoted(text, lines, delimiter, width)
            if fields is None:
                fault = "a quotation mark is never closed, or text follows it"
                yield FileRow(line=start, fields=(text,), position=lines.position, fault=fault)
            elif any(map(str.strip, fields)):
                yield FileRow(
                    line=start, fields=_without_empty(fields, width), position=lines.position
                )
    stat = file.path.stat()
    if (stat.st_size, stat.st_mtime_ns) != (file.size, file.modified_ns):
        raise UnusableFileError(
            file.path, "changed while it was read; import it again once its writer is done"
        )


def _without_empty(fields: tuple[str, ...], width: int) -> tuple[str, ...]:
    """Return ``fields`` without empty ones beyond ``width``, which spreadsheets append."""
    return fields if any(map(str.strip, fields[width:])) else fields[:width]


def _quoted(text: str, lines: _Lines, delimiter: str, width: int) -> tuple[str, ...] | None:
    """Return the fields of a row with quotes, which may span lines; None: not separable."""
    fields = _split(text, delimiter)
    if fields is not None or text.count('"') % 2 == 0:
        return fields
    following: list[str] = []
    while len(following) < _MAX_RECORD_LINES and (line := lines.read()):
        following.append(line)
        text = f"{text}\n{line.rstrip(chr(10))}"
        fields = _split(text, delimiter) if '"' in line else None
        if fields is not None and len(_without_empty(fields, width)) == width:
            return fields
    lines.put_back(following)
    return None


def _split(text: str, delimiter: str) -> tuple[str, ...] | None:
    try:
        found = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return tuple(found[0]) if len(found) == 1 else None


def _decodes(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        return False
    return True


def _check_magic(path: Path, chunk: bytes) -> None:
    if chunk.startswith(_ZIP_MAGIC):
        raise UnusableFileError(
            path, "an Excel workbook or an archive; save the table as CSV (UTF-8)"
        )
    if chunk.startswith(_UTF_16_BOMS):
        raise UnusableFileError(path, "UTF-16 text; save the table as CSV (UTF-8)")


class _Lines:
    """The lines of a file, numbered from 1, with push-back."""

    def __init__(self, file: TextFile) -> None:
        self._path = file.path
        self._binary = file.path.open("rb", buffering=0)
        self._text = io.TextIOWrapper(io.BufferedReader(self._binary), encoding=file.encoding)
        self._pushed_back: deque[str] = deque()
        self.number = 0

    def read(self) -> str:
        """Return the next line including its line break, or "" at the end."""
        line = self._pushed_back.popleft() if self._pushed_back else self._text.readline(_MAX_LINE)
        if line:
            self.number += 1
        if len(line) == _MAX_LINE and not line.endswith("\n"):
            raise UnusableFileError(
                self._path,
                f"line {self.number} is longer than {_MAX_LINE} characters; is it a table?",
            )
        return line

    def read_header(self) -> str:
        """Return the first line, or the one after Excel's own ``sep=;``."""
        line = self.read()
        return self.read() if _SEPARATOR_LINE.fullmatch(line) else line

    def put_back(self, lines: list[str]) -> None:
        """Push back ``lines``, the last ones read."""
        self._pushed_back = deque(chain(lines, self._pushed_back))
        self.number -= len(lines)

    @property
    def position(self) -> int:
        """How many bytes were read from the file."""
        return self._binary.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()
