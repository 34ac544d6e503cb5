"""A delimited text file: its encoding, its delimiter, its rows.

A file is read twice and never held in memory: once for digest and encoding, once for the rows.
Accepted are UTF-8 (with or without a BOM) and Windows-1254, which Turkish desktop programs write,
with `;`, `,` or TAB. What is wrong with a line costs that line, not the rest of the file: each is
decoded by itself, and one that is too long, or with a quote that is never closed, is a fault.
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
from izin.consent.making import maker

DELIMITERS = (";", ",", "\t")

_CHUNK = 1024 * 1024
MAX_LINE = 256 * 1024
_MAX_RECORD_LINES = 50
"""How many lines a quoted field may span."""
SEPARATOR_LINE = re.compile(r'"?sep=."?\n', re.IGNORECASE)
"""Excel's own line before the header."""
_UNCLOSED = "a quotation mark is never closed, or text follows it"
_TOO_LONG = f"the line is longer than {MAX_LINE} characters"
_UNDECODABLE = "\ufffd"
_BOM = "\ufeff"
UTF_8 = "utf-8-sig"
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
    """UTF-8 if the whole file is; else Windows-1254, in which single lines may be UTF-8."""
    size: int
    modified_ns: int

    def check_unchanged(self) -> None:
        """Raise UnusableFileError where the file changed since then."""
        stat = self.path.stat()
        if (stat.st_size, stat.st_mtime_ns) != (self.size, self.modified_ns):
            what = "changed while it was read; read it again once its writer is done"
            raise UnusableFileError(self.path, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One row: the line it starts on, its fields, and the position in the file after it."""

    line: int
    fields: tuple[str, ...]
    position: int
    """How much of the file's ``size`` was read so far."""
    fault: str | None = None
    """Why the fields cannot be separated; then ``fields`` is the whole line."""
    values: tuple[object, ...] = ()
    """The cells as an Excel workbook has them; nothing for a text file."""


_row = maker(FileRow)


def examine(path: Path) -> TextFile:
    """Return the digest and the encoding of the file.

    Raises:
        UnusableFileError: it cannot be opened, is empty, or is no text.
    """
    digest = hashlib.sha256()
    utf_8 = codecs.getincrementaldecoder("utf-8")()
    is_utf_8, size = True, 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                if size == 0:
                    _check_magic(path, chunk)
                digest.update(chunk)
                is_utf_8 = is_utf_8 and _decodes(utf_8, chunk)
                size += len(chunk)
        stat = path.stat()
    except OSError as error:
        raise UnusableFileError(path, f"cannot be opened: {error.strerror}") from error
    if size == 0:
        raise UnusableFileError(path, "the file is empty; export it again")
    is_utf_8 = is_utf_8 and _decodes(utf_8, b"", final=True)
    return TextFile(
        path=path,
        digest=digest.hexdigest(),
        encoding=UTF_8 if is_utf_8 else _WINDOWS_1254,
        size=size,
        modified_ns=stat.st_mtime_ns,
    )


def header(file: TextFile, score: Callable[[tuple[str, ...]], int]) -> tuple[str, tuple[str, ...]]:
    """Return the delimiter and the header: the split of line 1 with the highest ``score``, and of
    equal scores the one with the most fields.

    Raises:
        UnusableFileError: the first line cannot name columns.
    """
    with _Lines(file) as lines:
        first = lines.read_header()
    _check_header(file.path, first)
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
        fields: tuple[str, ...] | None
        while line := lines.read():
            start = lines.number
            if line.isspace():
                continue
            text, fault = line.rstrip("\n"), _UNCLOSED
            if _is_cut(line):
                fields, fault = None, _TOO_LONG
            elif '"' not in text:
                fields = tuple(text.split(delimiter))
            else:
                fields = _quoted(text, lines, delimiter, width)
            if fields is None:
                yield _row(line=start, fields=(text,), position=lines.position, fault=fault)
            elif any(map(str.strip, fields)):
                yield _row(
                    line=start, fields=_without_empty(fields, width), position=lines.position
                )
    file.check_unchanged()


def _without_empty(fields: tuple[str, ...], width: int) -> tuple[str, ...]:
    """Return ``fields`` without empty ones beyond ``width``, which spreadsheets append."""
    is_whole = len(fields) <= width or any(map(str.strip, fields[width:]))
    return fields if is_whole else fields[:width]


def _quoted(text: str, lines: _Lines, delimiter: str, width: int) -> tuple[str, ...] | None:
    """Return the fields of a row with quotes, which may span lines; None: not separable.

    A line with all delimiters of a row, and more than the row lacks, is a row: the quote before it
    was never closed, and must not swallow it.
    """
    fields = _split(text, delimiter)
    if fields is not None or text.count('"') % 2 == 0:
        return fields
    following: list[str] = []
    whole, found = False, text.count(delimiter)
    while len(following) < _MAX_RECORD_LINES and (line := lines.read()):
        following.append(line)
        found += line.count(delimiter)
        whole = whole or line.count(delimiter) >= width - 1
        text = f"{text}\n{line.rstrip(chr(10))}"
        if (whole and found >= width) or len(text) > MAX_LINE:
            break
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


def _check_header(path: Path, line: str) -> None:
    """Raise UnusableFileError where ``line``, which names the columns, is not of a table."""
    for stray, what in (("\0", "binary data"), (_UNDECODABLE, "neither UTF-8 nor Windows-1254")):
        if (place := line.find(stray)) >= 0:
            raise UnusableFileError(
                path, f"line 1, character {place + 1}: {what}; save the table as CSV (UTF-8)"
            )
    if _is_cut(line):
        what = f"line 1 is longer than {MAX_LINE} characters; is it a table?"
        raise UnusableFileError(path, what)


def _is_cut(line: str) -> bool:
    """Whether ``line`` was too long, and the rest of it was skipped."""
    return len(line) >= MAX_LINE and not line.endswith("\n")


def _decoded(line: str) -> str:
    """Return ``line``, whose characters are bytes, as the text that they encode."""
    if line.isascii():
        return line
    raw = line.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(_WINDOWS_1254, errors="replace")


class _Lines:
    """The lines of a file, numbered from 1, with push-back."""

    def __init__(self, file: TextFile) -> None:
        self._binary = file.path.open("rb", buffering=0)
        # In Latin-1 every byte is a character, so lines are found before they are decoded.
        self._text = io.TextIOWrapper(io.BufferedReader(self._binary), encoding="latin-1")
        self._pushed_back: deque[str] = deque()
        self.number = 0

    def read(self) -> str:
        """Return the next line including its line break, or "" at the end.

        One that is longer than the maximum is cut there, not decoded, and has no line break.
        """
        if self._pushed_back:
            line = self._pushed_back.popleft()
        else:
            line = self._text.readline(MAX_LINE)
            if _is_cut(line):
                while _is_cut(self._text.readline(MAX_LINE)):
                    pass
            else:
                line = _decoded(line)
            if self.number == 0:
                line = line.removeprefix(_BOM)
        if line:
            self.number += 1
        return line

    def read_header(self) -> str:
        """Return the first line, or the one after Excel's own ``sep=;``."""
        line = self.read()
        return self.read() if SEPARATOR_LINE.fullmatch(line) else line

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
