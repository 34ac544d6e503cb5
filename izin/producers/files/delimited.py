"""A delimited text file: its encoding, its delimiter, its rows.

A file is read twice and never held in memory: once for digest and encoding, once for the rows.
Accepted are UTF-8 and UTF-16 (with or without a BOM) and Windows-1254, which Turkish desktop
programs write, with `;`, `,`, TAB or `|`, or what a line ``sep=…`` says. What is wrong with a line
costs that line, not the rest of the file: each is decoded by itself, and one that is too long, or
with a quote that is never closed, is a fault.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from izin.consent.enums import CHANNELS, STATUSES
from izin.consent.errors import SourceError
from izin.consent.making import maker
from izin.producers.files.cells import cell_text, is_recipient
from izin.producers.files.header_search import (
    MOST_TITLES,
    Header,
    Score,
    best_header,
    without_empty_end,
)
from izin.producers.files.text_encoding import EncodingDetector, what_else
from izin.producers.files.text_lines import MAX_LINE, TextLines, is_cut
from izin.producers.mapping.field_names import channel_of, status_of

DELIMITERS = (";", ",", "\t", "|")

_CHUNK = 1024 * 1024
_MAX_RECORD_LINES = 200
"""How many lines a quoted field may span."""
_MAX_HEADER_LINES, _MAX_HEADER = 10, 10_000
"""How many lines and characters a header with line breaks in its names may have."""
SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n\0])?"?[;,\t]*\n?', re.IGNORECASE)
"""Excel's own line before the header."""
_UNCLOSED = "a quotation mark is never closed, or text follows it"
_TOO_LONG = f"the line is longer than {MAX_LINE} characters"
_UNDECODABLE = "\ufffd"


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
    """UTF-8, UTF-16, or Windows-1254, in which single lines may be UTF-8."""
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
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            chunk = stream.read(_CHUNK)
            if what := what_else(chunk):
                raise UnusableFileError(path, what)
            detector = EncodingDetector(chunk)
            while chunk:
                digest.update(chunk)
                detector.feed(chunk)
                size += len(chunk)
                chunk = stream.read(_CHUNK)
        stat = path.stat()
    except OSError as error:
        raise UnusableFileError(path, f"cannot be opened: {error.strerror}") from error
    if size == 0:
        raise UnusableFileError(path, "the file is empty; export it again")
    detector.feed(b"", final=True)
    return TextFile(
        path=path,
        digest=digest.hexdigest(),
        encoding=detector.encoding,
        size=size,
        modified_ns=stat.st_mtime_ns,
    )


def header(file: TextFile, score: Score, row: int | None = None) -> Header:
    """Return the header, and with it the delimiter: the split with the highest ``score`` of the
    first lines, or of the line ``row``, and of equal ones the first with the most fields.

    Raises:
        UnusableFileError: no line can name columns.
    """
    with TextLines(file.path, file.encoding) as lines:
        looked = max(MOST_TITLES, row or 0)
        first = [line for _ in range(looked) if (line := lines.read())]
    found = best_header(_candidates(first), score, row)
    if found is None:
        where = f"its first {MOST_TITLES} lines are" if row is None else f"its line {row} is"
        what = f"{where} empty; one must name the columns"
        raise UnusableFileError(file.path, what)
    for number in range(found.line, found.last_line + 1):
        _check_header(file.path, number, first[number - 1])
    return found


def _candidates(lines: list[str]) -> Iterator[Header]:
    """Yield what each of the ``lines`` at the beginning of a file is by each delimiter."""
    delimiters: tuple[str, ...] = DELIMITERS
    for number, line in enumerate(lines, 1):
        if number == 1 and (separator := SEPARATOR_LINE.fullmatch(line)):
            delimiters = (separator[1], *DELIMITERS) if separator[1] else DELIMITERS
            continue
        if line.isspace():
            continue
        for delimiter in delimiters:
            yield _candidate(lines, number, delimiter)


def _candidate(lines: list[str], number: int, delimiter: str) -> Header:
    """Return what begins in line ``number``; names with line breaks make it several lines."""
    text, last = lines[number - 1].rstrip("\n"), number
    fields = tuple(text.split(delimiter)) if '"' not in text else _split(text, delimiter)
    while fields is None and last < min(len(lines), number + _MAX_HEADER_LINES):
        text, last = f"{text}\n{lines[last].rstrip(chr(10))}", last + 1
        if len(text) > _MAX_HEADER or text.count('"') % 2:
            continue
        fields = _split(text, delimiter)
    if fields is None:
        fields, last = (lines[number - 1].rstrip("\n"),), number
    names = without_empty_end(fields)
    return Header(line=number, last_line=last, fields=names, delimiter=delimiter)


def rows(file: TextFile, head: Header) -> Generator[FileRow, None, None]:
    """Yield each row after the header ``head``.

    Raises:
        UnusableFileError: the file changed meanwhile.
    """
    delimiter, width = head.delimiter, len(head.fields)
    with TextLines(file.path, file.encoding) as lines:
        while lines.number < head.last_line and lines.read():
            pass
        fields: tuple[str, ...] | None
        while line := lines.read():
            start = lines.number
            if line.isspace():
                continue
            text, fault = line.rstrip("\n"), _UNCLOSED
            if is_cut(line):
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


def _quoted(text: str, lines: TextLines, delimiter: str, width: int) -> tuple[str, ...] | None:
    """Return the fields of a row with quotes, which may span lines; None: not separable.

    A row that a quote before it would swallow, for it was never closed, is a row.
    """
    fields = _split(text, delimiter)
    if fields is not None or text.count('"') % 2 == 0:
        return fields
    following: list[str] = []
    while len(following) < _MAX_RECORD_LINES and (line := lines.read()):
        following.append(line)
        text = f"{text}\n{line.rstrip(chr(10))}"
        if len(text) > MAX_LINE or ('"' not in line and _is_row(line, delimiter, width - 1)):
            break
        if '"' not in line or text.count('"') % 2:
            continue
        fields = _split(text, delimiter)
        if fields is not None and len(_without_empty(fields, width)) == width:
            if any(_swallows(fields, place, delimiter, width) for place in range(len(fields))):
                break
            return fields
    lines.put_back(following)
    return None


def _swallows(fields: tuple[str, ...], place: int, delimiter: str, width: int) -> bool:
    """Whether the field at ``place`` may be from a quote of one row to a quote of another, and what
    is between them.

    Of the row with the first quote it has the fields behind, of that with the second those before;
    a row between is there in full.
    """
    first, *between = fields[place].split("\n")
    if not between:
        return False
    *between, last = between
    if last.count(delimiter) < place:
        return False
    parts = [(first, width - 1 - place), (last, place), *((one, width - 1) for one in between)]
    return any(least and _is_row(one, delimiter, least) for one, least in parts)


def _is_row(line: str, delimiter: str, least: int) -> bool:
    """Whether ``line`` has as many delimiters, and a cell that a row has: an address, a channel, a
    status in more than a letter or digit, for notes count, too.
    """
    if line.count(delimiter) < least:
        return False
    cells = [cell_text(one) for one in line.rstrip("\n").split(delimiter)]
    return any(
        len(one) > 1
        and (status_of(one) in STATUSES or channel_of(one) in CHANNELS or is_recipient(one))
        for one in cells
    )


def _split(text: str, delimiter: str) -> tuple[str, ...] | None:
    try:
        found = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return tuple(found[0]) if len(found) == 1 else None


def _check_header(path: Path, number: int, line: str) -> None:
    """Raise UnusableFileError where ``line``, which names the columns, is not of a table."""
    for stray, what in (("\0", "binary data"), (_UNDECODABLE, "neither UTF-8 nor Windows-1254")):
        if (place := line.find(stray)) >= 0:
            raise UnusableFileError(
                path, f"line {number}, character {place + 1}: {what}; save the table as CSV (UTF-8)"
            )
    if is_cut(line):
        what = f"line {number} is longer than {MAX_LINE} characters; is it a table?"
        raise UnusableFileError(path, what)
