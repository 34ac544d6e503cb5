"""A delimited text file: its encoding, its delimiter, its rows.

A file is read twice and never held in memory: once for digest and encoding, once for the rows.
Accepted are UTF-8 and UTF-16 (with or without a BOM) and Windows-1254, which Turkish desktop
programs write, with `;`, `,`, TAB or `|`, or what a line ``sep=…`` says. What is wrong with a line
costs that line, not the rest of the file: each is decoded by itself, and one that is too long, or
with a quote that is never closed, is a fault.

UTF-8 is certain where every byte fits. UTF-16 is where a BOM says so, or where the first bytes do:
most of them are ASCII with a NUL at each second place, and none has one at the other.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, Self

from izin.consent import CHANNELS, STATUSES, maker
from izin.producers.files.tables import (
    Cells,
    FileRow,
    Header,
    Table,
    TableWriter,
    TextFile,
    UnusableFileError,
    merged,
    whole_file,
    without_empty_end,
)
from izin.producers.mapping.cells import cell_text, is_recipient
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.columns import known_columns
from izin.schemas.words import channel_of, status_of

DELIMITERS: tuple[str, ...] = (";", ",", "\t", "|")

_CHUNK = 1024 * 1024
_MAX_RECORD_LINES = 200
"""How many lines a quoted field may span."""
_MAX_HEADER_LINES, _MAX_HEADER = 10, 10_000
"""How many lines and characters a header with line breaks in its names may have."""
SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n\0])?"?[;,\t]*\n?', re.IGNORECASE)
"""Excel's own line before the header."""
MAX_LINE: Final = 256 * 1024
"""The most characters of a line, or of a row of several."""
_UNCLOSED = "a quotation mark is never closed, or text follows it"
_TOO_LONG = f"the line is longer than {MAX_LINE} characters"
_UNDECODABLE = "\ufffd"
_STRAY: Final = {
    "\0": "line %(row)s, character %(place)s: binary data; save the table as CSV (UTF-8)",
    _UNDECODABLE: (
        "line %(row)s, character %(place)s: neither UTF-8 nor Windows-1254; save the table as CSV "
        "(UTF-8)"
    ),
}


_row = maker(FileRow)
UTF_8: Final = "utf-8-sig"
WINDOWS_1254: Final = "cp1254"
BOM: Final = "\ufeff"
_UTF_16: Final = {
    codecs.BOM_UTF16_LE: ("utf-16-le", 1),
    codecs.BOM_UTF16_BE: ("utf-16-be", 0),
}
"""Of each BOM: the encoding, and at which of two bytes an ASCII character has its NUL."""
BOMS: Final = (codecs.BOM_UTF8, *_UTF_16)
_EXAMINED: Final = 4096
_MAGIC: Final = {
    b"PK\x03\x04": (
        "a damaged Excel workbook or another archive; save the table as CSV (UTF-8) or .xlsx"
    ),
    b"\xd0\xcf\x11\xe0": (
        "a workbook of an old Excel (.xls), or one with a password; save it as .xlsx without one"
    ),
    codecs.BOM_UTF32_LE: "UTF-32 text; save the table as CSV (UTF-8) or .xlsx",
    codecs.BOM_UTF32_BE: "UTF-32 text; save the table as CSV (UTF-8) or .xlsx",
    b"%PDF": "a PDF; save the table as CSV (UTF-8) or .xlsx",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
}
_MARKUP: Final = (b"<html", b"<!doctype", b"<table", b"<?xml", b"<meta")
_WEB_PAGE: Final = (
    "a web page, whatever its name ends with; open it in Excel and save the table as CSV (UTF-8) "
    "or .xlsx"
)
_COUNTED_EVERY: Final = 100
"""Lines: to ask the system at each would take a seventh of the time of reading."""
_RAW_BOM: Final = BOM.encode().decode("latin-1")


def is_utf_16(encoding: str) -> bool:
    """Whether ``encoding`` is one of UTF-16."""
    return encoding.startswith("utf-16")


def what_else(head: bytes) -> str | None:
    """Return what a file that begins with ``head`` is, if it is no text, and the remedy."""
    if head.lstrip().lower().startswith(_MARKUP):
        return _WEB_PAGE
    return next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None)


class EncodingDetector:
    """Finds the encoding of a file whose bytes it is fed, in order."""

    def __init__(self, head: bytes) -> None:
        self._certain = _utf_16_of(head)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_utf_8 = True

    def feed(self, chunk: bytes, *, final: bool = False) -> None:
        """Take the next bytes."""
        if self._is_utf_8 and self._certain is None:
            try:
                self._decoder.decode(chunk, final)
            except UnicodeDecodeError:
                self._is_utf_8 = False

    @property
    def encoding(self) -> str:
        """The encoding of what was fed."""
        return self._certain or (UTF_8 if self._is_utf_8 else WINDOWS_1254)


def _utf_16_of(head: bytes) -> str | None:
    for bom, (encoding, high) in _UTF_16.items():
        if head.startswith(bom):
            return encoding
        nuls, others = head[high:_EXAMINED:2], head[1 - high : _EXAMINED : 2]
        if nuls.count(0) * 2 > len(nuls) and not others.count(0):
            return encoding
    return None


def is_cut(line: str) -> bool:
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
        return raw.decode(WINDOWS_1254, errors="replace")


class TextLines:
    """The lines of a file, numbered from 1, with push-back."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._binary = path.open("rb", buffering=0)
        self._is_decoded = is_utf_16(encoding)
        # In Latin-1 every byte is a character, so lines are found before they are decoded.
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._binary),
            encoding=encoding if self._is_decoded else "latin-1",
            errors="replace",
        )
        self._pushed_back: deque[str] = deque()
        self.number = 0
        self._counted, self._counted_at = 0, 0

    def read(self) -> str:
        """Return the next line including its line break, or "" at the end.

        One that is longer than the maximum is cut there, not decoded, and has no line break.
        """
        if self._pushed_back:
            line = self._pushed_back.popleft()
        else:
            line = self._text.readline(MAX_LINE)
            if self.number == 0:
                line = line.removeprefix(BOM if self._is_decoded else _RAW_BOM)
            if is_cut(line):
                while is_cut(self._text.readline(MAX_LINE)):
                    pass
            elif not self._is_decoded:
                line = _decoded(line)
        if line:
            self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        """Push back ``lines``, the last ones read."""
        self._pushed_back = deque(chain(lines, self._pushed_back))
        self.number -= len(lines)

    @property
    def position(self) -> int:
        """How many bytes were read from the file, as of some lines ago."""
        if self.number >= self._counted_at + _COUNTED_EVERY:
            self._counted_at, self._counted = self.number, self._binary.tell()
        return self._counted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()


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
        raise UnusableFileError(path, "cannot be opened: %(why)s", why=error.strerror) from error
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


def header(file: TextFile, choices: ColumnChoices) -> Header:
    """Return the header: the first line that is not empty, or the one that ``choices`` name.

    Its delimiter is the one that gives the most known names, and of equal ones the most fields.

    Raises:
        UnusableFileError: there is no such line, or it is of no table.
    """
    row, delimiters = choices.header_row, DELIMITERS
    with TextLines(file.path, file.encoding) as lines:
        while line := lines.read():
            number = lines.number
            separator = SEPARATOR_LINE.fullmatch(line) if number == 1 else None
            if separator is not None:
                delimiters = (separator[1], *DELIMITERS) if separator[1] else DELIMITERS
            elif row in {None, number}:
                begun = [line, *filter(None, (lines.read() for _ in range(_MAX_HEADER_LINES)))]
                split = [_header(begun, number, delimiter) for delimiter in delimiters]
                if all(one.headers for one in split):  # else it has delimiters alone
                    found = max(
                        split,
                        key=lambda one: (known_columns(one.headers, choices), len(one.headers)),
                    )
                    for text in begun[: found.last_line - number + 1]:
                        _check_header(file.path, number, text)
                        number += 1
                    return found
                lines.put_back(begun[1:])
    if row is None:
        raise UnusableFileError(file.path, "every line is empty; one must name the columns")
    what = "its line %(row)s is empty; one must name the columns"
    raise UnusableFileError(file.path, what, row=row)


def _header(lines: list[str], number: int, delimiter: str) -> Header:
    """Return the header that begins in the first of ``lines``, which has this ``number``; names
    with line breaks make it several.
    """
    text, count = lines[0].rstrip("\n"), 1
    fields = tuple(text.split(delimiter)) if '"' not in text else _split(text, delimiter)
    while fields is None and count < len(lines):
        text, count = f"{text}\n{lines[count].rstrip(chr(10))}", count + 1
        if len(text) > _MAX_HEADER or text.count('"') % 2:
            continue
        fields = _split(text, delimiter)
    if fields is None:
        fields, count = (lines[0].rstrip("\n"),), 1
    names = without_empty_end(fields)
    last = number + count - 1
    return Header(header_line=number, last_line=last, headers=names, delimiter=delimiter)


def rows(file: TextFile, head: Header) -> Generator[FileRow, None, None]:
    """Yield each row after the header ``head``.

    Raises:
        UnusableFileError: the file changed meanwhile.
    """
    delimiter, width = head.delimiter, len(head.headers)
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
        len(cell) > 1
        and (status_of(cell) in STATUSES or channel_of(cell) in CHANNELS or is_recipient(cell))
        for cell in cells
    )


def _split(text: str, delimiter: str) -> tuple[str, ...] | None:
    try:
        found = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return tuple(found[0]) if len(found) == 1 else None


def _check_header(path: Path, number: int, line: str) -> None:
    """Raise UnusableFileError where ``line``, which names the columns, is not of a table."""
    for stray, what in _STRAY.items():
        if (place := line.find(stray)) >= 0:
            raise UnusableFileError(path, what, row=number, place=place + 1)
    if is_cut(line):
        what = "line %(row)s is longer than %(most)s characters; is it a table?"
        raise UnusableFileError(path, what, row=number, most=MAX_LINE)


def open_delimited(path: Path, choices: ColumnChoices) -> DelimitedTable:
    """Return the table at ``path``, whose columns have known names or those of ``choices``.

    Raises:
        UnusableFileError: it is no table.
    """
    file = examine(path)
    head = header(file, choices)
    start, line_end = _opening(file)
    return DelimitedTable(**asdict(head), file=file, size=file.size, start=start, line_end=line_end)


def _opening(file: TextFile) -> tuple[bytes, str]:
    """Return what stands before the header, and what ends a line."""
    codec = file.encoding if is_utf_16(file.encoding) else "latin-1"
    with file.path.open("rb") as stream:
        raw = stream.read(MAX_LINE)
    bom = next((one for one in BOMS if raw.startswith(one)), b"")
    first, _, _ = raw.removeprefix(bom).decode(codec, "replace").partition("\n")
    start = f"{first}\n".encode(codec) if SEPARATOR_LINE.fullmatch(first.rstrip("\r")) else b""
    return bom + start, "\r\n" if first.endswith("\r") else "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class DelimitedTable(Table):
    """A table in a CSV file."""

    start: bytes
    """A BOM and Excel's ``sep=;``, as far as they are there."""
    line_end: str

    def rows(self) -> Generator[FileRow, None, None]:
        """Yield each row."""
        return rows(self.file, self)

    @contextmanager
    def writer(self, path: Path, headers: Sequence[str]) -> Iterator[TableWriter]:
        """Return a writer of the same encoding, delimiter and line ends."""
        with whole_file(path) as stream:
            stream.write(self.start)
            lines = _DelimitedLines(stream, self)
            lines.write_cells(headers)
            yield lines


class _DelimitedLines:
    """Writes the lines of a CSV file."""

    def __init__(self, stream: BinaryIO, table: DelimitedTable) -> None:
        self._stream = stream
        self._table = table
        self._encoding = "utf-8" if table.file.encoding == UTF_8 else table.file.encoding

    def write(self, row: FileRow, cells: Cells) -> None:
        """Write a row; the fields of one that cannot be separated are its whole line."""
        self.write_cells(merged(row.fields, cells, len(self._table.headers), ""))

    def write_cells(self, cells: Sequence[str]) -> None:
        """Write one line."""
        line, table = io.StringIO(newline=""), self._table
        csv.writer(line, delimiter=table.delimiter, lineterminator=table.line_end).writerow(cells)
        try:
            encoded = line.getvalue().encode(self._encoding)
        except UnicodeEncodeError:
            # As it is read: in a file of another encoding single lines may be UTF-8.
            encoded = line.getvalue().encode()
        self._stream.write(encoded)
